"""Each layout gives every record once, in order, and says what is wrong with it."""
import csv
import json
import os
import pickle

import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from data import sources
from data.problems import Bad
from helpers import made

N = 10


CLASSES = ['cat', 'red ship', 'dog']


class CocoCaptions(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The layout of coco_captions: several captions a picture, in a sequence of pairs."""
  VERSION = tfds.core.Version('1.1.0')
  BUILDER_CONFIGS = [tfds.core.BuilderConfig(name='2014')]
  pkg_dir_path = None

  def _info(self):
    return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
        'image': tfds.features.Image(encoding_format='jpeg'),
        'image/filename': tfds.features.Text(),
        'label': tfds.features.ClassLabel(names=CLASSES),
        'captions': tfds.features.Sequence(
            {'id': np.int64, 'text': tfds.features.Text()})}))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples(), 'val': self._generate_examples()}

  def _generate_examples(self):
    import io
    for i in range(N):
      yield i, {'image': io.BytesIO(made.encoded(i, kind='JPEG', quality=100)),
                'image/filename': f'{i}.jpg', 'label': CLASSES[i % 3],
                'captions': [{'id': 10 * i + k, 'text': f'{k}: {made.caption(i)}'}
                             for k in range(5)]}


def write_coco(tmp_path):
  CocoCaptions(config='2014', data_dir=str(tmp_path / 'cache'),
               file_format='array_record').download_and_prepare()
  return dict(source='tfds', path='coco_captions')


def write(kind, tmp_path) -> dict:
  """Makes N pictures in a layout; the keys of config.data that read it."""
  root = tmp_path / kind
  if kind == 'folder':
    made.folder(root, N)
    return dict(source='folder', path=str(root))
  if kind in ('jsonl', 'csv'):
    made.folder(root, N)
    rows = []
    for path in root.rglob('*.txt'):
      rows.append({'file_name': f'{path.parent.name}/{path.stem}.png', 'other': 3,
                   'text': path.read_text(encoding='utf-8').strip()})
      path.unlink()
    with open(root / f'metadata.{kind}', 'w', encoding='utf-8', newline='') as f:
      if kind == 'csv':
        table = csv.DictWriter(f, rows[0])
        table.writeheader()
        table.writerows(rows)
      else:
        f.writelines(json.dumps(row) + '\n' for row in rows)
    return dict(source='folder', path=str(root))
  if kind == 'webdataset':
    made.shards(root, N, 4)
    return dict(source='webdataset', path=f'{root}/{{00000..00002}}.tar')
  if kind == 'memory':
    import fsspec
    made.shards(root, N, 4)
    for path in root.iterdir():
      fsspec.filesystem('memory').pipe(f'/bucket/{path.name}', path.read_bytes())
    return dict(source='webdataset', path='memory://bucket/{00000..00002}.tar')
  if kind == 'parquet':
    made.parquet(root / 'a.parquet', N)
    return dict(source='parquet', path=f'{root}/*.parquet')
  return write_coco(tmp_path)


@pytest.mark.parametrize('kind', ['folder', 'jsonl', 'csv', 'webdataset', 'memory',
                                  'parquet', 'coco'])
def test_every_record_is_there_once_with_its_caption(kind, tmp_path):
  c = made.config(tmp_path, **write(kind, tmp_path), captions='first')
  sources.prepare(c)
  pictures = sources.Pictures(c)
  assert len(pictures) == N and pictures.problems() == {}
  items = list(map(pictures.decoded, range(N)))
  seen = {made.number(item['image'] + 4): item for item in items}
  assert sorted(seen) == list(range(N))
  for i, item in seen.items():
    assert item['caption'].removeprefix('0: ') == made.caption(i)
    assert item['image'].shape == (16, 16, 3) and item['image'].dtype == np.uint8
  told = list(pictures.captions())
  assert len(told) == N * (5 if kind == 'coco' else 1)
  assert {t.partition('picture')[2] for t in told} == {
      made.caption(i).partition('picture')[2] for i in range(N)}
  assert all(pictures.where(i) for i in range(N))
  again = pickle.loads(pickle.dumps(pictures))  # as workers get it
  assert again.name == pictures.name
  np.testing.assert_array_equal(again[3]['image'], pictures[3]['image'])


def test_one_of_several_captions_is_drawn(tmp_path):
  c = made.config(tmp_path, **write('coco', tmp_path))
  sources.prepare(c)
  pictures = sources.Pictures(c)
  said = {pictures.decoded(3, (0, k))['caption'][0] for k in range(60)}
  assert said == set('01234')


@pytest.mark.parametrize('kind', ['folder', 'jsonl', 'webdataset'])
def test_an_index_is_built_once_and_anew_when_the_files_change(kind, tmp_path):
  c = made.config(tmp_path, **write(kind, tmp_path))
  first = sources.Pictures(c)
  index, = (tmp_path / 'cache' / 'index').glob('*.arrow')
  at = index.stat().st_mtime_ns
  assert sources.Pictures(c).name == first.name and index.stat().st_mtime_ns == at
  if kind == 'webdataset':
    made.shards(tmp_path / kind, N - 1, 4)
  else:
    os.remove(next((tmp_path / kind).rglob('*.png')))
  second = sources.Pictures(c)
  assert len(second) == N - 1 and second.name != first.name
  left, = (tmp_path / 'cache' / 'index').glob('*.arrow')
  assert left != index
  if kind == 'jsonl':
    assert second.problems() == {'in metadata but not there': 1}


def test_the_same_pictures_elsewhere_have_the_same_name(tmp_path):
  c = made.config(tmp_path, **write('folder', tmp_path))
  name = sources.Pictures(c).name
  os.rename(tmp_path / 'folder', tmp_path / 'moved')
  c.path = str(tmp_path / 'moved')
  assert sources.Pictures(c).name == name


@pytest.mark.parametrize('kind', ['folder', 'webdataset'])
def test_what_systems_leave_behind_is_no_picture(kind, tmp_path):
  """As macOS packs a folder from a camera: its own files between those of a record."""
  keys = dict(source=kind, path=str(tmp_path / 'in'))
  junk = b'\0\5\26\7Mac OS X'
  members = [('.DS_Store', junk), ('./._A.JPG', junk), ('./A.JPG', made.encoded(1)),
             ('./._A.TXT', junk), ('./A.TXT', b'one'), ('__MACOSX/A.JPG', junk),
             ('B.Png', made.encoded(2)), ('._B.txt', junk), ('B.txt', b'two')]
  (tmp_path / 'in' / '__MACOSX').mkdir(parents=True)
  if kind == 'folder':
    for name, data in members:
      (tmp_path / 'in' / name).write_bytes(data)
  else:
    made.tar(tmp_path / 'in' / 'a.tar', members)
    (tmp_path / 'in' / '._a.tar').write_bytes(junk)
  pictures = sources.Pictures(made.config(tmp_path, **keys))
  assert [pictures[i]['caption'] for i in range(len(pictures))] == ['one', 'two']
  assert [made.number(pictures[i]['image']) for i in range(2)] == [1, 2]
  assert pictures.problems() == {}
  if kind == 'webdataset':
    keys['path'] = f'{tmp_path}/in/*'
    assert len(sources.Pictures(made.config(tmp_path, **keys))) == 2


def test_tar_members_that_could_harm_or_are_cut_are_left_out(tmp_path):
  import tarfile
  link = tarfile.TarInfo('00002.jpg')
  link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
  good = [('00000.png', made.encoded(0)), ('00000.txt', b'zero')]
  made.tar(tmp_path / 'a.tar', [
      *good, ('../00001.png', made.encoded(1)), ('/etc/00001.png', made.encoded(1)),
      (link, b''), ('00003.txt', b'alone'), ('x/00004.png', made.encoded(4)),
      ('x/00004.txt', b'four'), ('y/00004.png', made.encoded(5)),
      ('y/00004.txt', b'5')])
  whole = made.tar(tmp_path / 'b.tar', [
      *good, ('00006.png', made.encoded(6, (600, 600))), ('00006.txt', b'six')])
  whole.write_bytes(whole.read_bytes()[:2600])
  (tmp_path / 'c.tar').write_bytes(b'')
  c = made.config(tmp_path, source='webdataset', path=str(tmp_path))
  pictures = sources.Pictures(c)
  assert [made.number(pictures[i]['image']) for i in range(len(pictures))] == [
      0, 4, 5, 0]
  assert pictures.problems() == {
      'unsafe name': 2, 'link or special file': 1, 'record without a picture': 1,
      'shard cut short': 1, 'empty shard': 1}
  assert pictures.where(1).endswith('a.tar:x/00004')


@pytest.mark.parametrize('caption, expected', [
    ('', 'of txt'), ('caption', 'of json'), ('.cap', 'of cap'), ('deep/en', 'of en')])
def test_a_caption_of_a_tar_is_a_member_or_a_field_of_json(caption, expected, tmp_path):
  fields = {'caption': 'of json', 'deep': {'en': ['of en']}}
  made.tar(tmp_path / 'a.tar', [
      ('1.json', json.dumps(fields).encode()), ('1.cap', b'of cap'),
      ('1.TXT', b'of txt'), ('1.PNG', made.encoded(1))])
  c = made.config(tmp_path, source='webdataset', path=f'{tmp_path}/*.tar',
                  caption=caption)
  assert sources.Pictures(c)[0]['caption'] == expected


BAD_RECORDS = {
    'empty': (b'', b'x', 'empty file'),
    'html': (b'<html>404</html>', b'x', 'not a picture'),
    'cut': (made.encoded(1, (64, 64), 'JPEG')[:500], b'x', 'damaged picture'),
    'one pixel': (made.encoded(1, (1, 1)), b'x', 'too small'),
    'bomb': (made.encoded(1, (900, 1200)), b'x', 'too many pixels'),
    'no caption': (made.encoded(1), None, 'no caption'),
    'blank caption': (made.encoded(1), b' \n\t\n', 'empty caption'),
    'latin-1': (made.encoded(1), 'grün'.encode('latin-1'), 'caption not UTF-8'),
    'long': (made.encoded(1), b'a' * 2_000_000, 'caption too long'),
}


@pytest.mark.parametrize('kind', ['folder', 'webdataset', 'parquet'])
def test_every_bad_record_has_its_reason_and_a_substitute(kind, tmp_path):
  keys = dict(source=kind, path=str(tmp_path / 'in'), max_pixels=1_000_000)
  (tmp_path / 'in').mkdir()
  cases = [('good', (made.encoded(7), b'fine', None)), *BAD_RECORDS.items()]
  if kind == 'folder':
    for name, (image, text, _) in cases:
      (tmp_path / 'in' / f'{name}.jpg').write_bytes(image)
      if text is not None:
        (tmp_path / 'in' / f'{name}.txt').write_bytes(text)
  elif kind == 'webdataset':
    made.tar(tmp_path / 'in' / 'a.tar', [
        member for name, (image, text, _) in cases
        for member in ((f'{name}.jpg', image), (f'{name}.txt', text))
        if member[1] is not None])
  else:
    pq.write_table(pa.table({
        'image': pa.array([v[0] for _, v in cases]),
        'caption': pa.array([v[1] for _, v in cases], pa.binary())}),
        tmp_path / 'in' / 'a.parquet')
  pictures = sources.Pictures(made.config(tmp_path, **keys))
  assert len(pictures) == len(cases)
  found = {}
  for i in range(len(pictures)):
    item, code = pictures.decoded_or_substitute(i)
    again, _ = pictures.decoded_or_substitute(i)
    assert made.number(item['image']) == 7 and item['caption'] == 'fine'
    np.testing.assert_array_equal(item['image'], again['image'])
    try:
      pictures[i]
      assert code == 0
    except Bad as e:
      assert e.code == code
      found[e.reason] = found.get(e.reason, 0) + 1
  assert found == {reason: 1 for *_, reason in BAD_RECORDS.values()}


def test_where_none_is_good_that_is_said(tmp_path):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'a.jpg').write_bytes(b'<html>')
  (tmp_path / 'in' / 'a.txt').write_bytes(b'x')
  pictures = sources.Pictures(
      made.config(tmp_path, source='folder', path=str(tmp_path / 'in')))
  item, code = pictures.decoded_or_substitute(0)
  assert code == Bad('no substitute').code and item['image'].shape == (16, 16, 3)
  assert item['sizes'].tolist() == [16, 16, 0, 0, 16, 16]


def test_a_flip_leaves_the_sizes(tmp_path):
  (tmp_path / 'in').mkdir()
  ramp = np.zeros((20, 60, 3), np.uint8)
  ramp[..., 0] = np.arange(0, 240, 4)
  Image.fromarray(ramp).save(tmp_path / 'in' / 'a.png')
  (tmp_path / 'in' / 'a.txt').write_text('x')
  keys = dict(source='folder', path=str(tmp_path / 'in'), crop='random', size=(16, 24))
  still, turning = (sources.Pictures(made.config(tmp_path, flip=flip, **keys))
                    for flip in (False, True))
  mirrored = 0
  for k in range(20):
    a, b = still.decoded(0, (1, k)), turning.decoded(0, (1, k))
    np.testing.assert_array_equal(a['sizes'], b['sizes'])
    mirrored += not np.array_equal(a['image'], b['image'])
    assert (np.array_equal(a['image'], b['image'])
            or np.array_equal(a['image'][:, ::-1], b['image']))
  assert 3 < mirrored < 17


def test_a_class_is_its_name(tmp_path):
  keys = write_coco(tmp_path)
  texts = sources.Pictures(made.config(tmp_path, captions='first', **keys))
  named = sources.Pictures(made.config(tmp_path, caption='label', **keys))
  numbers = {f'0: {made.caption(i)}': i for i in range(N)}
  assert len(named) == len(texts) == N
  for i in range(N):
    number = numbers[texts.decoded_or_substitute(i)[0]['caption']]
    assert named.decoded_or_substitute(i)[0]['caption'] == CLASSES[number % 3]
  with pytest.raises(ValueError, match=r"'x', not one of .*'label'"):
    sources.Pictures(made.config(tmp_path, caption='x', **keys))
