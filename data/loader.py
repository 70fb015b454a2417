"""Pictures to batches: shuffled, mixed, repeated, sharded by process, resumable."""
import dataclasses
import functools
import os
import sys
from typing import Any

from absl import flags
import grain
from grain.experimental import index_shuffle
import numpy as np

from data import tokenizers, worker_process
from data.problems import Tally

KEPT = 1 << 15  # captions whose tokens are remembered, in each process


def record_order(pictures, seed: int):
  """The endless sequence of records: every epoch of a source is a fresh permutation.

  Of several sources, position k holds the next record of the one that lags most behind
  its weight, so each keeps to epochs of its own.
  """
  each = []
  for k, source in enumerate(pictures.sources):
    first, end = pictures.starts[k:k + 2]
    own = (seed + 7919 * k) % 2**32
    if hasattr(source, 'window'):
      each.append(grain.MapDataset.source(
          GroupShuffle(source.starts, end - first, source.window, own, first)))
    else:
      each.append(grain.MapDataset.range(first, end).shuffle(seed=own).repeat(None))
  return each[0] if len(each) == 1 else grain.MapDataset.mix(each, pictures.weights)


class GroupShuffle:
  """The order of records that are read by groups: neighbours lie in few of them.

  An epoch is a permutation of the groups, and one of the records in each `window` of
  groups that follow one another there.
  """

  def __init__(self, starts, count: int, window: int, seed: int, first: int):
    """starts: of the groups, from 0. count: records. first: the number of record 0."""
    self.starts, self.sizes = np.array(starts), np.diff([*starts, count])
    self.count, self.window, self.seed, self.first = count, window, seed, first
    self._now = (None,)

  def __len__(self):
    return sys.maxsize

  def epoch(self, e: int):
    """(e, the groups in their order, [0, where each ends])."""
    groups = np.random.default_rng((self.seed, e)).permutation(len(self.sizes))
    return e, groups, np.concatenate([[0], np.cumsum(self.sizes[groups])])

  def __getitem__(self, position: int) -> int:
    e, at = divmod(int(position), self.count)
    now = self._now
    if now[0] != e:
      now = self._now = self.epoch(e)  # one assignment: other threads see all or none
    _, groups, ends = now
    w = (np.searchsorted(ends, at, 'right') - 1) // self.window * self.window
    low, high = int(ends[w]), int(ends[min(w + self.window, len(groups))])
    if high - low > 1:
      at = low + index_shuffle(at - low, max_index=high - low - 1,
                               seed=(self.seed + e + int(w)) % 2**32, rounds=4)
    g = np.searchsorted(ends, at, 'right') - 1
    return int(self.first + self.starts[groups[g]] + at - ends[g])


@functools.lru_cache(KEPT)
def tokens_of(tokenizer, caption: str, length: int) -> np.ndarray:
  return tokenizers.encode(tokenizer, caption, length)[0]


class Reader:
  """Number k of a part of a batch -> that part. Pickled, it goes to workers."""

  def __init__(self, pictures, tokenizer, length, part, seed):
    self.pictures, self.tokenizer, self.length = pictures, tokenizer, length
    self.part, self.seed = part, seed
    self.order = record_order(pictures, seed)

  def __call__(self, k: int) -> dict:
    """Part k: what Batches gives, and 'problem': uint8 [b], codes of problems.

    What is random about a record is keyed by its place in the order, so it does not
    depend on who reads it.
    """
    places = range(int(k) * self.part, (int(k) + 1) * self.part)
    numbers = [self.order[place] for place in places]
    items, problems = zip(*(
        self.pictures.decoded_or_substitute(i, (self.seed, place), record)
        for i, place, record in zip(numbers, places, self.pictures.fetch(numbers))))
    tokens = [tokens_of(self.tokenizer, x['caption'], self.length) for x in items]
    return {'image': np.stack([x['image'] for x in items]), 'tokens': np.stack(tokens),
            'sizes': np.stack([x['sizes'] for x in items]),
            'problem': np.array(problems, np.uint8)}


@dataclasses.dataclass(eq=False)
class Batches:
  """An endless iterator whose place is the number of batches it has given.

  So it goes on from a saved place with any number of processes, workers and threads,
  and gives the same global batches. The other fields are as in `batches`.
  """
  reader: Reader
  process: int
  processes: int
  workers: int
  threads: int
  given: int = 0
  passed: list = dataclasses.field(default_factory=list)  # (first, end) of batches to
                                                          # go without
  tally: Tally = dataclasses.field(default_factory=Tally)  # of what it has given
  _iterator: Any = None

  def __iter__(self):
    return self

  def __next__(self) -> dict:
    """{'image': uint8 [b h w c], 'tokens': int32 [b length], 'sizes': float32 [b 6]}.

    sizes: as in images.decode.
    """
    for first, end in sorted(self.passed):
      if first <= self.given < end:
        self.go_to(end)
    if self._iterator is None:
      self._iterator = iter(self._dataset())
    batch = next(self._iterator)
    self.given += 1
    self.tally.add(batch.pop('problem'))
    if self.workers:  # shared memory, which goes when the worker's batch does
      batch = {name: np.array(value) for name, value in batch.items()}
    return batch

  def _dataset(self):
    first = self.given * self.processes + self.process
    numbers = grain.MapDataset.range(first, 2**62, self.processes)
    dataset = numbers.map(self.reader).to_iter_dataset(grain.ReadOptions(
        num_threads=self.threads, prefetch_buffer_size=2 * self.threads))
    if not self.workers:
      return dataset
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()  # grain asks for flags of its own
    options = grain.multiprocessing.MultiprocessingOptions(
        num_workers=self.workers, per_worker_buffer_size=2)
    return dataset.mp_prefetch(options, worker_init_fn=functools.partial(
        worker_process.die_with_parent, os.getpid()))

  def part(self, k: int) -> dict:
    """This process's part of batch k, once more, as `next` gave it."""
    batch = self.reader(k * self.processes + self.process)
    del batch['problem']
    return batch

  def records(self, k: int) -> list[int]:
    """The numbers of the records of batch k, of all processes."""
    size = self.reader.part * self.processes
    return [int(self.reader.order[place]) for place in range(k * size, (k + 1) * size)]

  def go_to(self, k: int):
    """Makes batch k the next one."""
    self.close()
    self.given = k

  def get_state(self) -> dict:
    """JSON: the place, and the name of what is read there."""
    return {'batches': self.given, 'data': self.reader.pictures.name}

  def set_state(self, state: dict):
    """Raises ValueError where the data are not those of the saved place."""
    name = self.reader.pictures.name
    if state['data'] != name:
      raise ValueError(f'config.data is now {name}, but the run was reading '
                       f'{state["data"]}; its records have changed, so it cannot go on '
                       'as it was. Bring them back, or start a new --workdir.')
    self.go_to(state['batches'])

  def close(self):
    """Ends the threads and workers."""
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = None


def batches(pictures, tokenizer, *, length: int, batch: int, seed: int,
            process: int = 0, processes: int = 1, workers: int = 0, threads: int = 2):
  """An endless iterator of this process's share of each global batch.

  Global batch k holds the same pictures in the same order whatever the number of
  processes; process p has the p-th of its equal parts.

  pictures: sources.Pictures.
  length: tokens of a caption.
  batch: pictures over all processes, a multiple of their number.
  workers: processes that read and decode; 0: threads of this one do.
  threads: that read and decode, in each of them.
  """
  reader = Reader(pictures, tokenizer, length, batch // processes, seed)
  return Batches(reader, process, processes, workers, threads)
