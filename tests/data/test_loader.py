"""Each record once an epoch, whoever reads it, and on from anywhere."""
import collections

import numpy as np
import pytest

from data import loader, tokenizers


class Numbered:
  """32 pictures that carry their own number."""

  def __len__(self):
    return 32

  def __getitem__(self, i):
    return {'image': np.full((1, 1, 3), i, np.uint8), 'caption': f'a {i}'}


@pytest.fixture(scope='module')
def bpe():
  return tokenizers.train(['a 1'], 300)


def read(bpe, n, **kwargs):
  kwargs = dict(length=4, batch=8, seed=3) | kwargs
  batches = loader.batches(Numbered(), bpe, **kwargs)
  return [next(batches)['image'][:, 0, 0, 0].tolist() for _ in range(n)]


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_each_record_once_an_epoch(bpe, processes):
  seen = collections.Counter(
      i for p in range(processes)
      for batch in read(bpe, 12, process=p, processes=processes) for i in batch)
  assert seen == {i: 3 for i in range(32)}


def test_epochs_are_shuffled_anew(bpe):
  batches = read(bpe, 8)
  first, second = sum(batches[:4], []), sum(batches[4:], [])
  assert sorted(first) == sorted(second) == list(range(32))
  assert first != second and first != sorted(first)
  assert first == sum(read(bpe, 4, threads=1), [])
  assert first != sum(read(bpe, 4, seed=4), [])


def test_the_global_batch_is_the_same_for_any_number_of_processes(bpe):
  alone = read(bpe, 6)
  for processes in (2, 4):
    parts = [read(bpe, 6, process=p, processes=processes) for p in range(processes)]
    for k in range(6):
      assert sum((part[k] for part in parts), []) == alone[k]


def test_goes_on_from_a_saved_position(bpe):
  batches = loader.batches(Numbered(), bpe, length=4, batch=8, seed=3)
  for _ in range(5):
    next(batches)
  place = batches.get_state()
  rest = [next(batches)['image'] for _ in range(5)]
  again = loader.batches(Numbered(), bpe, length=4, batch=8, seed=3)
  again.set_state(place)
  for expected in rest:
    np.testing.assert_array_equal(next(again)['image'], expected)
