"""What can be wrong with a record, and how much of it there was."""
import collections

import numpy as np

REASONS = (
    'unreadable file',        # the system or the store refuses to give its bytes
    'empty file',
    'file too large',         # more than images.MOST_BYTES
    'not a picture',          # HTML, text, a format that is not read
    'damaged picture',        # cut short, or its decoder fails
    'too many pixels',        # config.data.max_pixels, read from the header
    'too small',              # a side under config.data.min_side
    'no caption',             # none is stored, or a null
    'empty caption',          # nothing but white space
    'caption not UTF-8',
    'caption too long',       # config.data.max_caption
    'no substitute',          # a bad record, and TRIES others were bad too
)
CODES = {reason: i + 1 for i, reason in enumerate(REASONS)}  # 0: nothing is wrong
FEW = 1_000  # pictures under which a share is not judged


def refused(key: str, value, why: str) -> ValueError:
  """The error that says `why` config.data's `key` cannot have a value."""
  return ValueError(f'config.data.{key} is {value!r}{why}')


class Bad(Exception):
  """A record that is not to be used, for one of REASONS."""

  def __init__(self, reason: str, detail: str = ''):
    super().__init__(f'{reason}: {detail}' if detail else reason)
    self.reason, self.code = reason, CODES[reason]


class Tally:
  """Counts what was read and what of it was bad, by reason.

  counts: int64 [1 + len(REASONS)], by code; counts[0] is of what was good.
  """

  def __init__(self, counts=0):
    self.counts = np.zeros(1 + len(REASONS), np.int64) + counts

  def add(self, codes):
    """codes: integers of any shape, one a record."""
    self.counts += np.bincount(np.ravel(codes), minlength=len(self.counts))

  total = property(lambda self: int(self.counts.sum()))
  bad = property(lambda self: int(self.counts[1:].sum()))

  def by_reason(self) -> dict[str, int]:
    return {reason: int(n) for reason, n in zip(REASONS, self.counts[1:]) if n}

  def logged(self) -> dict[str, int]:
    """{'bad': how many, 'bad/not a picture': ...}, as metrics.jsonl has it."""
    return {'bad': self.bad} | {f'bad/{k}': n for k, n in self.by_reason().items()}

  def line(self) -> str:
    """'12 of 3,400 pictures (0.4%) were bad: 10 not a picture, 2 too small'."""
    share = self.bad / max(self.total, 1)
    text = f'{self.bad:,} of {self.total:,} pictures ({share:.1%}) were bad'
    return text + (': ' if self.bad else '') + listed(self.by_reason())

  def check_share(self, most: float):
    """Raises ValueError where more than a share of `most` was bad.

    Of fewer than FEW pictures it asks for as many bad ones as FEW would need.
    """
    told = f'{self.line()}. python -m data.inspect shows examples.'
    if self.counts[CODES['no substitute']]:
      raise ValueError('config.data: a bad picture found no good one to stand in for '
                       f'it in many tries; {told}')
    if self.bad > most * max(self.total, FEW):
      raise ValueError(f'config.data.max_bad is {most:g}, but {told}')


def listed(counts: dict[str, int]) -> str:
  """{'a': 2, 'b': 10} -> '10 b, 2 a'."""
  most_first = collections.Counter(counts).most_common()
  return ', '.join(f'{n:,} {reason}' for reason, n in most_first)
