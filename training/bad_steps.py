"""Bad steps: gradients that are not finite and losses that spike; going back from them.

A loss spikes where it is above the median of the LATEST losses by more than `spike`
times their deviation: 1.4826 times the median distance from the median (MAD), which for
normal draws is the standard deviation, and which single odd values do not move.
"""
import os
from typing import NamedTuple

import numpy as np

from console import files
from training import diagnosis, sharding

FILE = 'bad_steps.json'
LATEST = 256  # finite losses, by which the next one is judged
FEW = 32      # so many of which judge none
LEAST = 0.01  # share of the median that a deviation is at least taken for
SHOWN = 6     # records that a line names


class Row(NamedTuple):
  """Bad steps that follow one another.

  Attributes:
    step, batch: of the first of them; a batch is a place in loader.Batches.
    end: the batch after that of the last.
    count: how many they are.
    spikes: how many of them had a finite gradient.
  """
  step: int
  batch: int
  end: int
  count: int
  spikes: int

  def line(self) -> str:
    kind = ('the loss spiked' if self.spikes == self.count else
            'the loss spiked or the gradient was not finite' if self.spikes else
            'the gradient was not finite')
    row = f'{self.count} steps in a row, from step' if self.count > 1 else 'at step'
    return f'{kind} {row} {self.step}'


class Watch:
  """Looks at the losses of a run as they are logged; what it knows is in checkpoints.

  Its `rows`, those that became too long, are in WORKDIR/bad_steps.json.
  """

  def __init__(self, workdir: str, spike: float, most: int, writes: bool = True):
    """spike: deviations that a loss may rise; 0: any. most: bad steps in a row."""
    self.spike, self.most, self.writes = spike, most, writes
    self.losses, self.row = [], None
    self.path = os.path.join(workdir, FILE)
    self.rows = files.read_json(self.path) if os.path.exists(self.path) else []

  def get_state(self) -> dict:
    return {'losses': self.losses, 'bad_row': self.row}

  def set_state(self, state: dict):
    """Of a checkpoint of an earlier version nothing is known."""
    self.losses = list(state.get('losses', ()))
    row = state.get('bad_row')
    self.row = row and Row(*row)

  def is_spike(self, loss: float) -> bool:
    """Whether a finite loss is too high for those before it."""
    if not self.spike or len(self.losses) < FEW:
      return False
    median = np.median(self.losses)
    deviation = 1.4826 * np.median(np.abs(np.asarray(self.losses) - median))
    return bool(loss - median > self.spike * max(deviation, LEAST * abs(median)))

  def see(self, window: list) -> Row | None:
    """The row of bad steps that has become too long, if one has.

    window: fetched metrics of steps, with the number of each `step` and `batch`.
    """
    for metrics in window:
      loss, finite = float(metrics['loss']), not metrics['skipped'][1]
      spike = finite and self.is_spike(loss)
      if finite:
        self.losses = [*self.losses, loss][-LATEST:]
      if finite and not spike:
        self.row = None
        continue
      step, batch = int(metrics['step']), int(metrics['batch'])
      old = self.row or Row(step, batch, batch, 0, 0)
      self.row = old._replace(end=batch + 1, count=old.count + 1,
                              spikes=old.spikes + spike)
      if self.row.count >= self.most:
        return self.row
    return None

  def passed(self) -> list[tuple[int, int]]:
    """[(first, end)] of the batches that the run goes without."""
    return [tuple(row['batches']) for row in self.rows if row['back_to'] is not None]

  def keep(self, row: Row, back_to: int | None, found: str | None, records: list[int]):
    """Writes down a row. back_to: the step that the run goes on from; None: it ends."""
    self.rows.append({'step': row.step, 'count': row.count, 'spikes': row.spikes,
                      'batches': [row.batch, row.end], 'back_to': back_to,
                      'found': found, 'records': records})
    if self.writes:
      files.write_json(self.path, self.rows)


def explain(c, built, state, batches, root, row: Row) -> tuple:
  """(line about a row, what is not finite first or None, the first batch's records).

  c: a config's `train`. state: with the parameters that the row began with, which it
  has not changed where no gradient was finite. The step is done again.
  """
  step = sharding.place(np.int32(row.step - 1), state.step.sharding)
  batch = sharding.shard_local(batches.part(row.batch), built.mesh)
  found = diagnosis.first_not_finite(built, state.replace(step=step), batch, root,
                                     c.steps, c.accumulate)
  records = batches.records(row.batch)
  more = len(records) - SHOWN
  return row.line() + (f': first {found}' if found else '') + (
      f'; its batch has the records {", ".join(map(str, records[:SHOWN]))}'
      + f' and {more} more, all in {FILE}' * (more > 0)), found, records


def go_back(c, built, state, batches, root, row: Row, watch, saved=None) -> str:
  """Takes back a row of bad steps, of whose batches none will be given again: the state
  is to be restored from the newest checkpoint. Returns a line about it.

  c: a config's `train`. saved: the Checkpoints. Raises ValueError where there is none
  from before the row, or the run has gone back as often as it may.
  """
  line, found, records = explain(c, built, state, batches, root, row)
  often = len(watch.passed())
  before = [step for step in (saved.steps() if saved else ()) if step < row.step]
  back_to = max(before) if before and often < c.max_rollbacks else None
  watch.keep(row, back_to, found, records)
  if back_to is None:
    why = (f'config.train.max_rollbacks is {c.max_rollbacks}, and the run has gone '
           f'back {often} times' if before else 'there is no checkpoint to go back to')
    raise ValueError(f'{line}; {why}. A lower config.optim.lr may help.')
  saved.drop_from(row.step)
  batches.passed = watch.passed()
  return f'{line}; back to step {back_to}, and on without their batches.'
