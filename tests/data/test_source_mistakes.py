"""What a source cannot be read from is refused in one line that names the key."""
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import sources
from helpers import made

MISTAKES = {
    'no path': (dict(source='folder'), "config.data.path is ''"),
    'no folder': (dict(source='folder', path='{root}/none'), 'not a folder'),
    'empty folder': (dict(source='folder', path='{root}/empty'), 'holds no pictures'),
    'no captions': (dict(source='folder', path='{root}/bare'), 'metadata.jsonl'),
    'a way without captions': (dict(source='folder', path='{root}/bare'),
                               "config.data.captions='none'"),
    'a tar without captions': (dict(source='webdataset', path='{root}/tars/a.tar'),
                               "config.data.captions='none'"),
    'folders of which none has a name': (
        dict(source='folder', path='{root}/bare', caption='folder'), 'has a caption'),
    'metadata that is no Parquet': (dict(source='folder', path='{root}/cut'),
                                    'cut/metadata.parquet: '),
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
        dict(source='parquet', path='{root}/b.parquet'),
        "config.data.captions='none'"),
    'captions that are broken numbers': (
        dict(source='parquet', path='{root}/c.parquet', caption='score'), 'is double'),
    'captions that are tables': (
        dict(source='parquet', path='{root}/c.parquet', caption='a'), 'is struct'),
    'captions that are nowhere': (
        dict(source='parquet', path='{root}/c.parquet', caption='a/c'), 'is nowhere'),
    'files with other classes': (
        dict(source='parquet', path='{root}/[xy].parquet', caption='label'),
        'y.parquet has other names'),
    'several sets in one folder': (dict(source='parquet', path='{root}/sets'),
                                   "['train', 'test']"),
    'a lost file of a set': (dict(source='parquet', path='{root}/lost'), '00001.arrow'),
    'no Arrow': (dict(source='parquet', path='{root}/text.arrow'),
                 'not an Arrow stream'),
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
    'no size': (dict(size=0), 'config.data.size is 0'),
    'three sizes': (dict(size=(8, 8, 3)), 'config.data.size is (8, 8, 3)'),
    'unknown crop': (dict(crop='left'), 'config.data.crop'),
    'unknown choice of captions': (dict(captions='all'), 'config.data.captions'),
    'mix of nonsense': (dict(mixture=(3,)), 'config.data.mixture'),
    'mix with an unknown key': (dict(mixture=((1, {'pth': 'x'}),)), "['pth']"),
    'mix with no weight': (dict(mixture=((0, {'path': 'x'}),)), 'above 0'),
    'mix with an unknown source': (
        dict(mixture=((1, {'source': 'x'}),)), "'x', not one"),
    'no manifest': (dict(source='array_record', path='{root}/bare'), 'manifest.json'),
}


@pytest.fixture(scope='module')
def wrong(tmp_path_factory):
  root = tmp_path_factory.mktemp('wrong')
  (root / 'empty').mkdir()
  for name in ('bare', 'odd', 'dumb', 'cut', 'tars', 'sets'):
    (root / name).mkdir()
    (root / name / 'a.png').write_bytes(made.encoded(1))
  (root / 'odd' / 'metadata.jsonl').write_text('{"text": "x"}\n')
  (root / 'dumb' / 'metadata.jsonl').write_text('{"file_name": "a.png", "alt_": 1}\n')
  (root / 'cut' / 'metadata.parquet').write_bytes(b'PAR1')
  made.tar(root / 'tars' / 'a.tar', [('a.png', made.encoded(1))])
  for name in ('text.txt', 'text.arrow'):
    (root / name).write_text('text' * 500)
  pq.write_table(pa.table({'x': [1], 'text': ['a']}), root / 'a.parquet')
  pq.write_table(pa.table({'image': [b'1']}), root / 'b.parquet')
  pq.write_table(pa.table({'image': [b'1'], 'score': [0.5], 'a': [{'b': 'x'}]}),
                 root / 'c.parquet')
  for name, classes in (('x', ['cat', 'dog']), ('y', ['dog', 'cat'])):
    pq.write_table(made.table([1], classes, label=[1]), root / f'{name}.parquet')
  made.saved_to_disk(root / 'lost', [made.table([1], text=['a'])])
  (root / 'lost' / 'data-00000-of-00001.arrow').unlink()
  (root / 'sets' / 'dataset_dict.json').write_text('{"splits": ["train", "test"]}')
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
