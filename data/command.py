"""How `python -m data.prepare` and `python -m data.inspect` start and end.

Like the scripts' own, but without jax: this is data's side of the house.
"""
import os
import sys
import time

from absl import flags
from ml_collections import config_flags


def run(main, define, about: str):
  """Defines flags, reads them, runs main(flags).

  ValueError and OSError are mistakes of the user: one line on stderr, exit code 2.
  """
  others = set(flags.FLAGS)
  config_flags.DEFINE_config_file('config', None, 'A file of configs/, for its data.')
  define()
  if '--help' in sys.argv:
    print(about)
    for name in sorted(set(flags.FLAGS) - others):
      print(f'  --{name}: {flags.FLAGS[name].help}')
    sys.exit(0)
  try:
    rest = flags.FLAGS(sys.argv)[1:]
    if rest:
      raise ValueError(f'{rest[0]!r} is not a flag; flags are written --name=value.')
    if flags.FLAGS.config is None:
      raise ValueError('--config=FILE is needed, such as configs/folder.py.')
    if 'data' not in flags.FLAGS.config:
      raise ValueError('--config has no `data`; see configs/base.py.')
  except Exception as e:  # a config file is Python: it can fail in any way
    fail(e)
  try:
    main(flags.FLAGS)
  except (ValueError, OSError) as e:
    fail(e)
  except KeyboardInterrupt:
    end(130)


def fail(e: Exception):
  text = ' '.join(str(e).split()) or type(e).__name__
  if isinstance(e, OSError) and e.filename and e.strerror:
    text = f'{e.filename}: {e.strerror}.'
  elif not isinstance(e, (ValueError, OSError, flags.Error)):
    text = f'--config: {type(e).__name__}: {text}'
  name = os.path.splitext(os.path.basename(sys.argv[0]))[0]
  print(f'data.{name}: {text}', file=sys.stderr)
  end(2)


def end(code: int):
  """Ends the process at once, and with it those that follow it (processes.py)."""
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


class Progress:
  """A line on stderr: rewritten on a terminal, else printed every ten seconds."""

  def __init__(self, total: int, what: str):
    self.total, self.what, self.start = total, what, time.monotonic()
    self.said = self.start

  def __call__(self, done: int, note: str = ''):
    now, terminal = time.monotonic(), sys.stderr.isatty()
    if now - self.said < (0.2 if terminal else 10) and done < self.total:
      return
    self.said, spent = now, max(now - self.start, 1e-9)
    left = int(spent / max(done, 1) * (self.total - done))
    text = (f'{done:,}/{self.total:,} {self.what}, {done / spent:.1f} a second, '
            f'{left // 60}:{left % 60:02} left{note}')
    print(f'\r\033[K{text}' if terminal else text, file=sys.stderr, flush=True,
          end='\n' if done >= self.total or not terminal else '')
