"""Each record once an epoch, whoever reads it, and on from anywhere."""
import collections
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data import loader, sources, tokenizers
from helpers.commands import PLACES
from helpers import made

N = 32
HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope='module')
def bpe():
  return tokenizers.train(['picture 1'], 300)


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
  root = tmp_path_factory.mktemp('loader')
  made.folder(root / 'in', N)
  return sources.Pictures(made.config(root, source='folder', path=str(root / 'in')))


def iterator(pictures, bpe, **kwargs):
  kwargs = dict(length=4, batch=8, seed=3) | kwargs
  return loader.batches(pictures, bpe, **kwargs)


def numbers(batch) -> list[int]:
  return [made.number(image + 4) for image in batch['image']]


def read(pictures, bpe, n, **kwargs):
  batches = iterator(pictures, bpe, **kwargs)
  return [numbers(next(batches)) for _ in range(n)]


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_each_record_once_an_epoch(pictures, bpe, processes):
  seen = collections.Counter(
      i for p in range(processes)
      for batch in read(pictures, bpe, 12, process=p, processes=processes)
      for i in batch)
  assert seen == {i: 3 for i in range(N)}


def test_epochs_are_shuffled_anew(pictures, bpe):
  batches = read(pictures, bpe, 8)
  first, second = sum(batches[:4], []), sum(batches[4:], [])
  assert sorted(first) == sorted(second) == list(range(N))
  assert first != second and first != sorted(first)
  assert first == sum(read(pictures, bpe, 4, threads=1), [])
  assert first != sum(read(pictures, bpe, 4, seed=4), [])


def test_a_batch_need_not_divide_the_records(pictures, bpe):
  """33 batches of 7 hold 231 = 7 * 32 + 7 records: 7 whole epochs, then 7 more."""
  flat = sum(read(pictures, bpe, 33, batch=7), [])
  for epoch in range(7):
    assert sorted(flat[epoch * N:(epoch + 1) * N]) == list(range(N))


def random(pictures):
  """The same pictures, with everything about them drawn at random."""
  root = pathlib.Path(pictures.sources[0].root)
  return sources.Pictures(made.config(
      root.parent, source='folder', path=str(root), crop='random', flip=True))


def assert_same(a, b):
  for key in ('image', 'tokens', 'sizes'):
    np.testing.assert_array_equal(a[key], b[key])


def test_the_global_batch_is_the_same_for_any_number_of_processes(pictures, bpe):
  pictures = random(pictures)
  alone = iterator(pictures, bpe)
  alone = [next(alone) for _ in range(6)]
  for processes in (2, 4):
    parts = [iterator(pictures, bpe, process=p, processes=processes)
             for p in range(processes)]
    for whole in alone:
      got = [next(part) for part in parts]
      assert_same({k: np.concatenate([part[k] for part in got]) for k in whole}, whole)


def test_a_batch_says_where_its_crops_lie(pictures, bpe, tmp_path):
  """Of pictures 16 high and 24 wide, whose crops of 12 by 6 are 16 by 8."""
  root = pathlib.Path(pictures.sources[0].root)
  tall = sources.Pictures(made.config(
      tmp_path, source='folder', path=str(root), size=(12, 6), crop='random',
      flip=True))
  batches = iterator(tall, bpe, seed=2)
  batch, k = next(batches), batches.reader.order
  assert batch['image'].shape == (8, 12, 6, 3) and batch['image'].dtype == np.uint8
  assert batch['sizes'].shape == (8, 6) and batch['sizes'].dtype == np.float32
  for row, sizes in enumerate(batch['sizes']):
    np.testing.assert_array_equal(sizes, tall.decoded(k[row], (2, row))['sizes'])
    np.testing.assert_array_equal(sizes[[0, 1, 2, 4, 5]], (16, 24, 0, 12, 6))
    assert 0 <= sizes[3] <= (24 - 8) * 6 / 8
  assert len(set(batch['sizes'][:, 3])) > 3


def test_goes_on_anywhere_with_any_processes_and_threads(pictures, bpe):
  pictures = random(pictures)
  batches = iterator(pictures, bpe)
  for _ in range(5):
    next(batches)
  place = json.loads(json.dumps(batches.get_state()))
  rest = [next(batches) for _ in range(5)]
  again = iterator(pictures, bpe, threads=1)
  again.set_state(place)
  for expected in rest:
    assert_same(next(again), expected)
  assert again.get_state() == batches.get_state()
  halves = [iterator(pictures, bpe, process=p, processes=2) for p in range(2)]
  for half in halves:
    half.set_state(place)
  for expected in rest:
    got = [next(half) for half in halves]
    assert_same({k: np.concatenate([g[k] for g in got]) for k in expected}, expected)


def test_records_that_have_changed_are_refused(pictures, bpe, tmp_path):
  place = iterator(pictures, bpe).get_state()
  made.folder(tmp_path / 'in', N + 1)
  other = sources.Pictures(
      made.config(tmp_path, source='folder', path=str(tmp_path / 'in')))
  with pytest.raises(ValueError, match='its records have changed'):
    iterator(other, bpe).set_state(place)


def test_a_mixture_keeps_to_its_weights_and_to_the_epochs_of_each(bpe, tmp_path):
  made.folder(tmp_path / 'a', 10)
  made.parquet(tmp_path / 'b' / 'b.parquet', 25)
  c = made.config(tmp_path, mixture=(
      (3, {'source': 'folder', 'path': str(tmp_path / 'a')}),
      (1.0, {'source': 'parquet', 'path': str(tmp_path / 'b')})))
  sources.prepare(c)
  mixed = sources.Pictures(c)
  order = loader.record_order(mixed, 5)
  got = [order[k] for k in range(400)]
  assert sum(i < 10 for i in got) == 300
  for n in range(20, 400, 20):  # never far from the weights
    assert abs(sum(i < 10 for i in got[:n]) - 0.75 * n) <= 1
  first, second = [i for i in got if i < 10], [i for i in got if i >= 10]
  assert all(sorted(first[e:e + 10]) == list(range(10)) for e in range(0, 300, 10))
  assert all(sorted(second[e:e + 25]) == list(range(10, 35)) for e in range(0, 100, 25))
  assert made.number(mixed[3]['image'] + 4) in range(10)
  assert made.number(mixed[10 + 7]['image'] + 4) == 7


def test_each_group_of_parquet_is_read_once_an_epoch(bpe, tmp_path):
  made.parquet(tmp_path / 'in' / 'a.parquet', 43, group=4)
  made.parquet(tmp_path / 'in' / 'b.parquet', 30, group=7)
  pictures = sources.Pictures(
      made.config(tmp_path, source='parquet', path=str(tmp_path / 'in')))
  source, reads = pictures.sources[0], []
  source.window = 3
  source._open_cache()
  read_group = source._read
  source._read = lambda at, column: reads.append((at, column)) or read_group(at, column)
  source._open_cache()
  order, starts = loader.record_order(pictures, 1), np.array(source.starts)
  epochs = [[order[k] for k in range(73 * e, 73 * (e + 1))] for e in range(3)]
  for epoch in epochs:
    assert sorted(epoch) == list(range(73))
  assert epochs[0] != epochs[1] != epochs[2]
  for i in epochs[0]:
    pictures[i]
  assert sorted(reads) == sorted(
      (g, column) for g in range(len(starts)) for column in ('image', 'text'))
  mixed = sum(a // 4 != b // 4 for a, b in zip(epochs[0], epochs[0][1:]))
  assert mixed > 30  # and neighbours are seldom of one group


def test_bad_pictures_are_counted_as_they_are_given(bpe, tmp_path):
  made.folder(tmp_path / 'in', N)
  for name in ('part0/00000.png', 'part1/00001.png'):
    (tmp_path / 'in' / name).write_bytes(b'<html>')
  pictures = sources.Pictures(
      made.config(tmp_path, source='folder', path=str(tmp_path / 'in')))
  batches = iterator(pictures, bpe)
  for k in range(1, 9):
    batch = next(batches)
    assert batches.tally.total == 8 * k and 'problem' not in batch
    assert not {0, 1} & set(numbers(batch))
  assert batches.tally.by_reason() == {'not a picture': 4}  # two, in each of two epochs
  iterator(pictures, bpe).close()


def alive(pid: int) -> bool:
  try:
    return pathlib.Path(f'/proc/{pid}/stat').read_text().split()[2] != 'Z'
  except FileNotFoundError:
    return False


@pytest.mark.skipif(not os.path.exists('/proc/self'), reason='looks into /proc')
def test_workers_give_the_same_stream_and_die_with_a_killed_trainer(
    pictures, bpe, tmp_path):
  """Begun with 0 workers, gone on with 2, killed, and gone on with 0 again."""
  whole = [b.tolist() for b in (np.array(read(pictures, bpe, 30)))]
  batches = iterator(pictures, bpe)
  for _ in range(4):
    next(batches)
  place = tmp_path / 'place.json'
  place.write_text(json.dumps(batches.get_state()))
  process = subprocess.Popen(
      [sys.executable, '-m', 'helpers.stream', pictures.sources[0].root, place, '2'],
      text=True, cwd=HERE.parent.parent, stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL, env=os.environ | {'PYTHONPATH': PLACES})
  got = []
  for line in process.stdout:
    said = json.loads(line)
    got.append(said['numbers'])
    if len(got) == 8:
      process.send_signal(signal.SIGKILL)
      break
  process.wait()
  assert got == whole[4:12] and len(said['children']) == 2
  until = time.time() + 20
  while any(map(alive, said['children'])) and time.time() < until:
    time.sleep(0.05)
  assert not any(map(alive, said['children']))
  state = json.loads(place.read_text())
  assert state['batches'] > 4 and state['batches'] % 3 == 0
  batches = iterator(pictures, bpe)
  batches.set_state(state)
  assert [numbers(next(batches)) for _ in range(9)] == whole[
      state['batches']:state['batches'] + 9]
