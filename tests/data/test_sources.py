"""Each layout gives every record once, in order, and says what is wrong with it."""
import csv
import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_datasets as tfds

from data import sources
from data.problems import Bad
import made

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
  seen = {made.number(item['image'] + 4): item for item in map(pictures.read, range(N))}
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
  said = {pictures.read(3, (0, k))['caption'][0] for k in range(60)}
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
      ('1.txt', b'of txt'), ('1.PNG', made.encoded(1))])
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
    item, code = pictures.read_any(i)
    again, _ = pictures.read_any(i)
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
  item, code = pictures.read_any(0)
  assert code == Bad('no substitute').code and item['image'].shape == (16, 16, 3)


def test_a_class_is_its_name(tmp_path):
  keys = write_coco(tmp_path)
  texts = sources.Pictures(made.config(tmp_path, captions='first', **keys))
  named = sources.Pictures(made.config(tmp_path, caption='label', **keys))
  numbers = {f'0: {made.caption(i)}': i for i in range(N)}
  assert len(named) == len(texts) == N
  for i in range(N):
    number = numbers[texts.read_any(i)[0]['caption']]
    assert named.read_any(i)[0]['caption'] == CLASSES[number % 3]
  with pytest.raises(ValueError, match=r"'x', not one of .*'label'"):
    sources.Pictures(made.config(tmp_path, caption='x', **keys))


MISTAKES = {
    'no path': (dict(source='folder'), "config.data.path is ''"),
    'no folder': (dict(source='folder', path='{root}/none'), 'not a folder'),
    'empty folder': (dict(source='folder', path='{root}/empty'), 'holds no pictures'),
    'no captions': (dict(source='folder', path='{root}/bare'), 'metadata.jsonl'),
    'metadata without file_name': (dict(source='folder', path='{root}/odd'),
                                   'no file_name'),
    'metadata without a caption': (dict(source='folder', path='{root}/dumb'),
                                   'config.data.caption'),
    'no such field': (dict(source='folder', path='{root}/dumb', caption='alt'),
                      "'alt', which is no column"),
    'no tar matches': (dict(source='webdataset', path='{root}/*.tar'),
                       'matches no file'),
    'a tar is missing': (dict(source='webdataset', path='{root}/{{0..3}}.tar'),
                         '0.tar'),
    'no tar': (dict(source='webdataset', path='{root}/text.txt'), 'not a plain tar'),
    'unknown address': (dict(source='webdataset', path='zzz://a/b.tar'), 'zzz'),
    'no tar path': (dict(source='webdataset'), 'config.data.path is empty'),
    'no Parquet': (dict(source='parquet', path='{root}/text.txt'),
                   'not a Parquet file'),
    'Parquet without pictures': (dict(source='parquet', path='{root}/a.parquet'),
                                 'config.data.image'),
    'Parquet without that column': (
        dict(source='parquet', path='{root}/a.parquet', image='pic'), "'pic', which"),
    'Parquet with numbers': (
        dict(source='parquet', path='{root}/a.parquet', image='x'), 'int64'),
    'Parquet without captions': (
        dict(source='parquet', path='{root}/b.parquet'), 'config.data.caption'),
    'no tfds name': (dict(source='tfds'), 'config.data.path is empty'),
    'unknown tfds name': (dict(source='tfds', path='no_such_set'), 'does not know'),
    'tfds that needs TensorFlow': (dict(source='tfds', path='coco_captions'),
                                   'tfds build coco_captions'),
    'a set to be downloaded by hand': (dict(source='tfds', path='imagenet2012'),
                                       'should contain two files: ILSVRC2012_img'),
    'unknown split': (dict(source='shapes', split='night', pictures=8),
                      'config.data.split'),
    'a split of a folder': (dict(source='folder', path='{root}/bare', split='test'),
                            'has no splits'),
    'unknown crop': (dict(crop='left'), 'config.data.crop'),
    'unknown choice of captions': (dict(captions='all'), 'config.data.captions'),
    'mix of nonsense': (dict(mix=(3,)), 'config.data.mix'),
    'mix with an unknown key': (dict(mix=((1, {'pth': 'x'}),)), "['pth']"),
    'mix with no weight': (dict(mix=((0, {'path': 'x'}),)), 'above 0'),
    'mix with an unknown source': (dict(mix=((1, {'source': 'x'}),)), "'x', not one"),
    'no manifest': (dict(source='array_record', path='{root}/bare'), 'manifest.json'),
}


@pytest.fixture(scope='module')
def wrong(tmp_path_factory):
  root = tmp_path_factory.mktemp('wrong')
  (root / 'empty').mkdir()
  for name in ('bare', 'odd', 'dumb'):
    (root / name).mkdir()
    (root / name / 'a.png').write_bytes(made.encoded(1))
  (root / 'odd' / 'metadata.jsonl').write_text('{"text": "x"}\n')
  (root / 'dumb' / 'metadata.jsonl').write_text('{"file_name": "a.png", "alt_": 1}\n')
  (root / 'text.txt').write_text('text' * 500)
  pq.write_table(pa.table({'x': [1], 'text': ['a']}), root / 'a.parquet')
  pq.write_table(pa.table({'image': [b'1']}), root / 'b.parquet')
  return root


@pytest.mark.parametrize('case', MISTAKES)
def test_a_mistake_names_the_key_in_one_line(case, wrong, tmp_path):
  keys, expected = MISTAKES[case]
  keys = {k: v.format(root=wrong) if isinstance(v, str) else v for k, v in keys.items()}
  c = made.config(tmp_path, **keys)
  with pytest.raises(ValueError) as error:
    sources.prepare(c)
    sources.Pictures(c)
  assert expected in str(error.value) and '\n' not in str(error.value)
