"""Disks that fill up in the middle, and a checkout that can only be read."""
import filecmp
import os
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from helpers import disks
from helpers.commands import ROOT, logged, train
from helpers.tiny import FAST

FULL = 'No space left on device.\n'


@pytest.fixture(scope='module')
def noise(root):
  """Flags of a folder of pictures that hardly get smaller."""
  folder, rng = root / 'noise', np.random.default_rng(0)
  folder.mkdir()
  for i in range(32):
    pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f'{i}.png')
    (folder / f'{i}.txt').write_text(f'picture {i}')
  return (f'--config={ROOT}/configs/folder.py', f'--config.data.path={folder}',
          f'--config.data.dir={root}/noise_index')


@pytest.fixture
def disk(tmp_path):
  """(a folder of 64 KiB, what gives it another size)."""
  with disks.small(tmp_path / 'disk', 64) as resize:
    yield tmp_path / 'disk', resize


def test_an_inspection_names_its_sheet(noise, disk, commands):
  folder, _ = disk
  code, out, err = commands.run('data.inspect', *noise, f'--out={folder}/sheet.png')
  assert (code, err) == (2, f'data.inspect: {folder}/sheet.png: {FULL}')
  assert not list(folder.iterdir())


def test_an_index_names_its_folder(noise, disk, root, commands):
  folder, _ = disk
  (folder / 'full').write_bytes(bytes(63 << 10))
  code, _, err = commands.run('data.inspect', *noise, f'--config.data.dir={folder}/d',
                              f'--out={root}/sheet.png')
  assert (code, err) == (2, f'data.inspect: config.data.dir={folder}/d: {FULL}')


@pytest.mark.parametrize('processes', [1, 2])
def test_preparing_names_its_folder_and_goes_on(noise, disk, root, commands, processes):
  folder, resize = disk
  def prepare(out):
    return commands.run('data.prepare', *noise, f'--out={out}', '--encoding=png',
                        '--shards=4', f'--processes={processes}')
  code, _, err = prepare(folder / 'out')
  assert (code, err.splitlines()[-1] + '\n') == (
      2, f'data.prepare: --out={folder}/out: {FULL}')
  resize(4096)
  assert prepare(folder / 'out')[0] == prepare(root / f'prepared{processes}')[0] == 0
  names = sorted(os.listdir(root / f'prepared{processes}'))
  assert sorted(os.listdir(folder / 'out')) == names and len(names) == 6
  same = filecmp.cmpfiles(folder / 'out', root / f'prepared{processes}', [
      name for name in names if name != 'plan.json'], shallow=False)
  assert not same[1] and not same[2]


def test_pictures_name_their_file(disk, commands):
  folder, _ = disk
  (folder / 'full').write_bytes(bytes(64 << 10))
  code, _, err = commands.run('plan.py', f'--config={ROOT}/configs/shapes.py',
                              '--loss_weights', f'--out={folder}/weights.png')
  assert code == 2 and err.endswith(f'{folder}/weights.png: {FULL}'), err
  assert [path.name for path in folder.iterdir()] == ['full']


@pytest.mark.long
def test_a_run_whose_disk_fills_goes_on_when_there_is_room(root, commands, tmp_path):
  code, _, err = commands.run(*train(root, 'room'))
  assert code == 0, err
  with disks.small(tmp_path / 'disk', 1024) as resize:
    command = (*train(root, 'unused'), f'--workdir={tmp_path}/disk/run')
    code, out, err = commands.run(*command)
    assert code == 2, err
    assert err == f'train.py: the disk is full: --workdir={tmp_path}/disk/run: {FULL}'
    resize(16 << 10)
    code, out, err = commands.run(*command)
    assert code == 0 and 'resumed at step 30' in out, err
    assert logged(tmp_path / 'disk' / 'run') == logged(root / 'room')


@pytest.fixture
def checkout(tmp_path):
  with disks.read_only(ROOT, tmp_path / 'checkout'):
    yield tmp_path / 'checkout'


def run_in(folder, *words):
  """(exit code, stderr) of a command that runs there as a process of its own."""
  done = subprocess.run(
      [sys.executable, *map(str, words)], cwd=folder, capture_output=True, text=True,
      env=os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': FAST, 'PYTHONPATH': ''})
  return done.returncode, done.stderr


@pytest.mark.long
def test_a_checkout_may_be_read_only(root, checkout, tmp_path):
  """What is written goes where flags say; nothing is said of what cannot be kept."""
  c = f'--config={root}/tiny.py'
  data = f'--config.data.dir={tmp_path}/data'
  code, err = run_in(checkout, 'train.py', c, f'--workdir={tmp_path}/run', data,
                     '--config.train.steps=4')
  assert code == 0 and 'Read-only' not in err and 'Warning' not in err, err
  for words in (
      ('sample.py', f'--workdir={tmp_path}/run', '--prompt=x',
       f'--out={tmp_path}/a.png'),
      ('sample.py', '--workdir=weights/shapes', '--prompt=a red ring', '--steps=1',
       f'--out={tmp_path}/b.png'),
      ('-m', 'data.inspect', c, data, f'--out={tmp_path}/sheet.png')):
    code, err = run_in(checkout, *words)
    assert (code, err) == (0, ''), words
  assert {'a.png', 'b.png', 'sheet.png', 'run'} <= set(os.listdir(tmp_path))


@pytest.mark.long
@pytest.mark.parametrize('words, named', [
    (('train.py', '--config=configs/shapes.py', '--workdir=runs/x',
      '--config.data.dir={data}', '--config.data.pictures=64'), 'runs'),
    (('train.py', '--config=configs/shapes.py', '--workdir={data}/run',
      '--config.data.dir=there'), 'config.data.dir=there'),
    (('sample.py', '--workdir=weights/shapes', '--prompt=x', '--steps=1',
      '--out=x.png'), 'x.png')])
def test_what_would_be_written_into_it_is_named(checkout, tmp_path, words, named):
  (tmp_path / 'data').mkdir()
  code, err = run_in(checkout, *(word.format(data=tmp_path / 'data') for word in words))
  assert code == 2, err
  assert err.splitlines()[-1].endswith(f': {named}: Read-only file system.'), err
