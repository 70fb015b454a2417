"""Prepared pictures are those of the source, once each, whatever happened."""
import io
import signal
import subprocess
import sys
import time

import numpy as np
from PIL import Image
import pytest

from data import shards, sources
from helpers.commands import DATA, ROOT, Commands
from helpers import made

N = 40


def prepare(c, out, size=16, encoding='png', count=4, **more):
  """What data.prepare does, in this process."""
  plan = shards.plan(c, str(out), size=size, encoding=encoding, quality=95,
                     shards=count)
  for job in shards.begin(plan, str(out)):
    shards.write_shard(job)
  return shards.finish(plan, str(out))


def prepared(tmp_path, out):
  c = made.config(tmp_path, source='array_record', path=str(out))
  sources.prepare(c)
  return sources.Pictures(c)


@pytest.mark.parametrize('kind, encoding', [
    ('folder', 'png'), ('webdataset', 'png'), ('parquet', 'ppm')])
def test_every_record_is_prepared_once_with_its_captions(kind, encoding, tmp_path):
  root = tmp_path / 'in'
  if kind == 'folder':
    made.folder(root, N)
  elif kind == 'webdataset':
    made.shards(root, N, 9)
  else:
    made.parquet(root / 'a.parquet', N)
  c = made.config(tmp_path, source=kind, path=str(root))
  manifest = prepare(c, tmp_path / 'out', encoding=encoding)
  assert manifest['records'] == N and manifest['problems'] == {}
  assert len(manifest['shards']) == (5 if kind == 'webdataset' else 4)
  before, after = sources.Pictures(c), prepared(tmp_path, tmp_path / 'out')
  assert len(after) == N
  for i in range(N):
    np.testing.assert_array_equal(after[i]['image'], before[i]['image'])
    assert after[i]['caption'] == before[i]['caption']
  assert after.where(7) == before.where(7)


def test_pictures_are_resized_and_small_ones_stay_as_they_are(tmp_path):
  (tmp_path / 'in').mkdir()
  rng = np.random.default_rng(0)
  smooth = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8)).resize(
      (90, 60), Image.Resampling.BICUBIC)
  smooth.save(tmp_path / 'in' / 'a.jpg', quality=98)
  smooth.resize((30, 20)).save(tmp_path / 'in' / 'b.jpg', quality=60)
  smooth.rotate(90, expand=True).save(tmp_path / 'in' / 'c.png')
  for name in 'abc':
    (tmp_path / 'in' / f'{name}.txt').write_text(name)
  c = made.config(tmp_path, source='folder', path=str(tmp_path / 'in'))
  prepare(c, tmp_path / 'out', size=20, encoding='jpeg', count=1)
  records = prepared(tmp_path, tmp_path / 'out').sources[0]
  pictures = [Image.open(io.BytesIO(records[i]['image'])) for i in range(3)]
  assert [p.size for p in pictures] == [(30, 20), (30, 20), (20, 30)]
  assert {p.format for p in pictures} == {'JPEG'}
  assert records[1]['image'] == (tmp_path / 'in' / 'b.jpg').read_bytes()
  expected = np.asarray(smooth.resize((30, 20), Image.Resampling.LANCZOS)).astype(int)
  assert np.abs(np.asarray(pictures[0]) - expected).mean() < 3


def test_pictures_are_brought_down_until_they_cover_the_size(tmp_path):
  """And remember how large they were, also when they are prepared twice."""
  (tmp_path / 'in').mkdir()
  for name, size in (('a', (90, 60)), ('b', (60, 90)), ('c', (30, 18))):
    Image.new('RGB', size, (200, 30, 60)).save(tmp_path / 'in' / f'{name}.png')
    (tmp_path / 'in' / f'{name}.txt').write_text(name)
  c = made.config(tmp_path, source='folder', path=str(tmp_path / 'in'), size=(24, 12))
  manifest = prepare(c, tmp_path / 'out', size=(24, 12), count=1)
  assert manifest['settings']['size'] == [24, 12]
  twice = made.config(tmp_path, source='array_record', path=str(tmp_path / 'out'))
  prepare(twice, tmp_path / 'twice', size=12, count=1)
  for out, expected in (('out', [(36, 24), (16, 24), (30, 18)]),
                        ('twice', [(18, 12), (12, 18), (20, 12)])):
    after = prepared(tmp_path, tmp_path / out)
    stored = [Image.open(io.BytesIO(after.sources[0][i]['image'])) for i in range(3)]
    assert [picture.size for picture in stored] == expected
    assert [after[i]['sizes'][:2].tolist() for i in range(3)] == [
        [60, 90], [90, 60], [18, 30]]
  before = sources.Pictures(c)
  c.update(dict(source='array_record', path=str(tmp_path / 'out')))
  after = sources.Pictures(c)
  for i in range(3):
    np.testing.assert_array_equal(after[i]['image'], before[i]['image'])
    np.testing.assert_allclose(after[i]['sizes'], before[i]['sizes'], atol=0.3)


def test_bad_records_are_left_out_and_counted(tmp_path):
  made.folder(tmp_path / 'in', N)
  (tmp_path / 'in' / 'part0' / '00003.png').write_bytes(b'')
  (tmp_path / 'in' / 'part1' / '00001.txt').write_bytes(b'\xff')
  manifest = prepare(
      made.config(tmp_path, source='folder', path=str(tmp_path / 'in')),
      tmp_path / 'out')
  assert manifest['records'] == N - 2
  assert manifest['problems'] == {'empty file': 1, 'caption not UTF-8': 1}
  after = prepared(tmp_path, tmp_path / 'out')
  assert {made.number(after[i]['image'] + 4) for i in range(N - 2)} == (
      set(range(N)) - {1, 3})


def test_what_is_not_whole_is_refused(tmp_path):
  made.folder(tmp_path / 'in', N)
  c = made.config(tmp_path, source='folder', path=str(tmp_path / 'in'))
  prepare(c, tmp_path / 'out')
  for keys in (dict(size=8), dict(encoding='jpeg')):
    with pytest.raises(ValueError, match='other settings'):
      shards.manifest(str(tmp_path / 'out'), shards.plan(
          c, 'x', **dict(size=16, encoding='png') | keys, quality=95, shards=4))
  (tmp_path / 'in' / 'part0' / '00000.png').unlink()
  with pytest.raises(ValueError, match='was begun with another input'):
    prepare(c, tmp_path / 'out')
  with pytest.raises(ValueError, match='is not empty'):
    prepare(c, tmp_path / 'in')
  shard = next((tmp_path / 'out').glob('*.array_record'))
  shard.write_bytes(shard.read_bytes()[:-100])
  with pytest.raises(ValueError, match=f'{shard.name} has'):
    prepared(tmp_path, tmp_path / 'out')


def flags(tmp_path):
  return ('--config=configs/folder.py', f'--config.data.path={tmp_path}/in',
          f'--config.data.dir={tmp_path}/cache', f'--out={tmp_path}/out', '--size=16',
          '--encoding=png')


def test_killed_it_goes_on_and_gives_the_same(tmp_path):
  made.folder(tmp_path / 'in', N)
  process = subprocess.Popen(
      [sys.executable, '-m', 'data.prepare', *flags(tmp_path), f'--shards={N}',
       '--processes=2'], cwd=ROOT, stderr=subprocess.DEVNULL)
  notes = tmp_path / 'out' / 'notes'
  while process.poll() is None and len(list(notes.glob('*.json'))) < 3:
    time.sleep(0.002)
  process.send_signal(signal.SIGKILL)
  process.wait()
  time.sleep(2)  # its workers end within one
  kept = {p.name: p.stat().st_mtime_ns
          for p in (tmp_path / 'out').glob('*.array_record')}
  noted = [path.name.removesuffix('.json') for path in notes.glob('*.json')]
  assert 3 <= len(noted) < N and not (tmp_path / 'out' / 'manifest.json').exists()
  c = made.config(tmp_path, source='folder', path=str(tmp_path / 'in'))
  manifest = prepare(c, tmp_path / 'out', count=N)
  for name in noted:  # what was done is not done again
    assert (tmp_path / 'out' / name).stat().st_mtime_ns == kept[name]
  assert manifest == prepare(c, tmp_path / 'other', count=N)
  assert {p.name for p in (tmp_path / 'out').iterdir()} >= {
      'manifest.json', 'plan.json', *(s['file'] for s in manifest['shards'])}


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
  started = Commands(tmp_path_factory.mktemp('forks'), imports=DATA)
  yield started
  started.close()


def test_from_the_command_line(tmp_path, commands):
  made.folder(tmp_path / 'in', N)
  for said in ('40 pictures in 4 shards', 'is done: 40 pictures'):
    code, out, err = commands.run('data.prepare', *flags(tmp_path), '--shards=4',
                                 '--processes=1')
    assert code == 0 and said in out, err
  assert len(prepared(tmp_path, tmp_path / 'out')) == N


@pytest.mark.parametrize('flag, expected', [
    (('--out=',), '--out=FOLDER'), (('--quality=0',), 'quality'), (('bogus',), 'bogus'),
    (('--config.data.pth=x',), 'pth'), (('--config=none.py',), 'none.py'),
    (('--config.data.path=/none',), "'/none', which is not a folder"),
    (('--config.data.source=cats',), "'cats', not one of"),
    (('--', '--runner=DirectRunner'), '--runner=DirectRunner is for Beam')])
def test_a_mistake_is_one_line_and_exit_code_2(flag, expected, tmp_path, commands):
  code, out, err = commands.run('data.prepare', *flags(tmp_path), *flag)
  assert code == 2 and expected in err and err.count('\n') == 1, err
  assert err.startswith('data.prepare: ') and not (tmp_path / 'out').exists()


def test_without_beam_it_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'apache_beam', None)
  monkeypatch.delitem(sys.modules, 'data.beam', raising=False)
  with pytest.raises(ValueError, match='pip install -r requirements-beam.txt'):
    import data.beam  # noqa: F401


@pytest.mark.long
def test_as_a_beam_pipeline(tmp_path):
  """On Beam's own runner: the same shards, bit for bit."""
  pytest.importorskip('apache_beam')
  from data import beam
  made.shards(tmp_path / 'in', N, 9)
  c = made.config(tmp_path, source='webdataset', path=str(tmp_path / 'in'))
  out = str(tmp_path / 'out')
  plan = shards.plan(c, out, size=16, encoding='png', quality=95, shards=4)
  beam.run(shards.begin(plan, out), ['--runner=DirectRunner'])
  whole = prepare(c, tmp_path / 'other')
  assert shards.finish(plan, out) == whole


@pytest.mark.parametrize('encoding', ['png', 'ppm', 'jpeg'])
def test_grey_pictures_are_prepared_as_grey(encoding, tmp_path):
  made.folder(tmp_path / 'in', 6)
  smooth = Image.linear_gradient('L').resize((16, 16))
  smooth.save(tmp_path / 'in' / 'part0' / '00000.jpg', quality=90)  # beside the .png
  (tmp_path / 'in' / 'part0' / '00000.png').unlink()
  c = made.config(tmp_path, source='folder', path=str(tmp_path / 'in'), channels=1)
  assert prepare(c, tmp_path / 'out', encoding=encoding)['settings']['channels'] == 1
  before = sources.Pictures(c)
  c.update(dict(source='array_record', path=str(tmp_path / 'out')))
  after = sources.Pictures(c)
  records = [after.sources[0][i]['image'] for i in range(6)]
  assert {Image.open(io.BytesIO(data)).mode for data in records} == {'L'}
  if encoding == 'jpeg':  # what is grey already stays as it is
    assert records[0] == (tmp_path / 'in' / 'part0' / '00000.jpg').read_bytes()
  for i in range(6):
    assert after[i]['image'].shape == (16, 16, 1)
    np.testing.assert_allclose(after[i]['image'] / 1.0, before[i]['image'], atol=2)
  with pytest.raises(ValueError, match='was begun with another channels'):
    c.update(dict(source='folder', path=str(tmp_path / 'in'), channels=3))
    (tmp_path / 'out' / 'manifest.json').unlink()
    prepare(c, tmp_path / 'out', encoding=encoding)


def test_plans_of_colours_name_no_channels(tmp_path):
  """As those of earlier versions: what was begun then goes on."""
  made.folder(tmp_path / 'in', 3)
  c = made.config(tmp_path, source='folder', path=str(tmp_path / 'in'))
  assert 'channels' not in prepare(c, tmp_path / 'out')['settings']
