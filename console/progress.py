"""How long work is told of: a line that is rewritten, or lines in a log file."""
import sys
import time

EVERY = {True: 0.2, False: 10.0}  # seconds between two lines, on a terminal or not


def clock(seconds: float) -> str:
  """3671 -> '1:01:11'."""
  minutes, s = divmod(int(seconds), 60)
  hours, m = divmod(minutes, 60)
  return f'{hours}:{m:02}:{s:02}' if hours else f'{m}:{s:02}'


class Progress:
  """A line on stderr with a rate and the time left: progress(done)."""

  def __init__(self, total: int, unit: str):
    self.total, self.unit, self.start = total, unit, time.monotonic()
    self.said = self.start

  def __call__(self, done: int, note: str = ''):
    now, terminal = time.monotonic(), sys.stderr.isatty()
    if now - self.said < EVERY[terminal] and not (terminal and done >= self.total):
      return
    self.said, rate = now, max(done, 1e-9) / max(now - self.start, 1e-9)
    text = (f'{done:,}/{self.total:,} {self.unit}, {rate:.1f} a second, '
            f'{clock((self.total - done) / rate)} left{note}')
    print(f'\r\033[K{text}' if terminal else text, file=sys.stderr, flush=True,
          end='\n' if done >= self.total or not terminal else '')


class Lines:
  """Lines on stdout, the last of which may be one that is rewritten on a terminal."""

  def __init__(self, active: bool = True):
    """active: False, as on all processes but one, says nothing."""
    self.active = active

  def say(self, text: str):
    """A line of its own, also where one that is rewritten stands."""
    if self.active:
      print(('\r\033[K' if sys.stdout.isatty() else '') + text, flush=True)

  def rewrite(self, text: str):
    """A line that the next one replaces; one of its own where nothing can."""
    if self.active and sys.stdout.isatty():
      print(f'\r\033[K{text}', end='', flush=True)
    else:
      self.say(text)
