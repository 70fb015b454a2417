"""Pictures as people have them: without captions, by class, as other tools save."""
import io
import pickle

import fsspec
import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import inspect, loader, shards, sources
from helpers import made

N = 10
CLASSES = ['cat', 'red_ship', 'dog']


@pytest.fixture
def read(tmp_path):
  """(keys of config.data) -> its Pictures."""
  def pictures(**keys):
    c = made.config(tmp_path, **keys)
    sources.prepare(c)
    return sources.Pictures(c)
  return pictures


def seen(pictures) -> dict:
  """{number of a picture: its caption}."""
  items = [pictures[i] for i in range(len(pictures))]
  return {made.number(item['image'] + 4): item['caption'] for item in items}


def prepared(c, out):
  """What data.prepare makes of a config's `data`, as keys of config.data."""
  plan = shards.plan(c, str(out), size=16, encoding='png', quality=95, shards=2)
  for job in shards.begin(plan, str(out)):
    shards.write_shard(job)
  shards.finish(plan, str(out))
  return dict(source='array_record', path=str(out))


def without_captions(kind, root) -> dict:
  root.mkdir()
  if kind == 'folder':
    for i in range(N):
      (root / f'{i}.png').write_bytes(made.encoded(i))
    (root / 'metadata.jsonl').write_text('{"boxes": []}\n')  # of something else
  elif kind == 'webdataset':
    made.tar(root / 'a.tar', [(f'{i}.png', made.encoded(i)) for i in range(N)])
  else:
    pq.write_table(made.table(range(N), x=range(N)), root / 'a.parquet')
  return dict(source=kind, path=str(root))


@pytest.mark.parametrize('kind', ['folder', 'webdataset', 'parquet'])
def test_pictures_without_captions_have_empty_ones(kind, read, tmp_path, tokenizer):
  keys = without_captions(kind, tmp_path / 'in') | {'captions': 'none'}
  pictures = read(**keys)
  assert seen(pictures) == dict.fromkeys(range(N), '')
  assert list(pictures.captions()) == [''] * N and pictures.problems() == {}
  assert inspect.look(pictures, 3)['texts'] == ['']
  batches = loader.batches(pictures, tokenizer, length=4, batch=N, seed=0)
  next(batches)
  assert batches.tally.bad == 0
  made_of = prepared(made.config(tmp_path, **keys), tmp_path / 'out')
  assert seen(read(captions='none', **made_of)) == dict.fromkeys(range(N), '')
  with pytest.raises(ValueError, match="config.data.captions='none'"):
    read(**made_of)


def test_captions_that_are_there_need_not_be_looked_for(read, tmp_path):
  made.folder(tmp_path / 'in', N)
  keys = dict(source='folder', path=str(tmp_path / 'in'))
  assert set(seen(read(captions='none', **keys)).values()) == {''}
  assert seen(read(**keys))[3] == made.caption(3)
  drawn = dict(source='shapes', pictures=4)
  assert set(seen(read(captions='none', **drawn)).values()) == {''}


@pytest.mark.parametrize('kind', ['folder', 'webdataset'])
def test_the_name_of_a_folder_is_the_caption(kind, read, tmp_path):
  """As torchvision's ImageFolder has it."""
  files = [(f'train/{CLASSES[i % 3]}/{i}.png', made.encoded(i)) for i in range(N)]
  if kind == 'folder':
    for name, data in files:
      (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
      (tmp_path / 'in' / name).write_bytes(data)
  else:
    (tmp_path / 'in').mkdir()
    made.tar(tmp_path / 'in' / 'a.tar', files)
  keys = dict(source=kind, path=str(tmp_path / 'in'), caption='folder')
  assert seen(read(**keys)) == {i: CLASSES[i % 3] for i in range(N)}


@pytest.mark.parametrize('wanted, expected', [
    ('top_folder', ['n01', 'n01', 'n02', 'n02']), ('folder', ['n01', 'a', 'b', 'c'])])
@pytest.mark.parametrize('kind', ['folder', 'webdataset'])
def test_folders_in_classes(kind, wanted, expected, read, tmp_path):
  """torchvision's ImageFolder walks a class to any depth: it is the topmost folder."""
  names = [f'{at}/{i}.png' for i, at in enumerate(('n01', 'n01/a', 'n02/b', 'n02/b/c'))]
  (tmp_path / 'in').mkdir()
  if kind == 'webdataset':
    made.tar(tmp_path / 'in' / 'a.tar', [(n, made.encoded(i))
                                         for i, n in enumerate(names)])
  for i, name in enumerate(names if kind == 'folder' else ()):
    (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'in' / name).write_bytes(made.encoded(i))
  keys = dict(source=kind, path=str(tmp_path / 'in'), caption=wanted)
  assert seen(read(**keys)) == dict(enumerate(expected))


@pytest.mark.parametrize('names, expected', [
    (CLASSES, CLASSES), ((), ['0', '1', '2'])])
@pytest.mark.parametrize('kind', [pa.int64(), pa.uint8(), 'list', 'saved'])
def test_a_class_of_a_table_is_its_name(kind, names, expected, read, tmp_path):
  labels = [i % 3 for i in range(N)]
  if kind == 'saved':
    made.saved_to_disk(tmp_path / 'in', [
        made.table(range(N), names, label=labels)])
  else:
    (tmp_path / 'in').mkdir()
    column = (pa.array([[n] for n in labels]) if kind == 'list' else
              pa.array(labels, kind))
    pq.write_table(made.table(range(N), names, label=column),
                   tmp_path / 'in' / 'a.parquet')
  keys = dict(source='parquet', path=str(tmp_path / 'in'), caption='label')
  pictures = read(**keys)
  told = {i: expected[i % 3] for i in range(N)}
  assert seen(pictures) == told and sorted(pictures.captions()) == sorted(told.values())
  assert inspect.look(pictures, 4)['texts'] == [expected[1]]
  made_of = prepared(made.config(tmp_path, **keys), tmp_path / 'out')
  assert seen(read(**made_of)) == told


def test_a_class_that_is_not_told_is_no_caption(read, tmp_path):
  """The hub's test sets have -1."""
  pq.write_table(made.table(range(3), CLASSES, label=[-1, 3, 2]),
                 tmp_path / 'a.parquet')
  pictures = read(source='parquet', path=f'{tmp_path}/a.parquet', caption='label')
  found = [inspect.look(pictures, i) for i in range(3)]
  assert [str(x.get('bad', '')) for x in found] == ['no caption', 'no caption', '']


@pytest.mark.parametrize('column', ['text', 'caption', 'label'])
def test_metadata_in_parquet_beside_the_pictures(column, read, tmp_path):
  made.folder(tmp_path / 'in', N)
  paths = sorted((tmp_path / 'in').rglob('*.png'))
  texts = [len(path.stem) if column == 'label' else f'of {path.stem}' for path in paths]
  (tmp_path / 'in' / 'deep').mkdir()
  names = [f'../{path.parent.name}/{path.name}' for path in paths]
  pq.write_table(pa.table({'file_name': names, column: texts}),
                 tmp_path / 'in' / 'deep' / 'metadata.parquet')
  pictures = read(source='folder', path=str(tmp_path / 'in'),
                  caption='label' if column == 'label' else '')
  assert seen(pictures) == {int(path.stem): str(text)
                            for path, text in zip(paths, texts)}


def test_a_set_of_save_to_disk(read, tmp_path):
  root = made.saved_to_disk(tmp_path / 'in', [
      made.table(part, text=[made.caption(i) for i in part])
      for part in (range(7), range(7, 7), range(7, N))], batch=3)
  (root / 'cache-1f.arrow').write_bytes(b'left behind')
  told = {i: made.caption(i) for i in range(N)}
  pictures = read(source='parquet', path=str(root))
  assert seen(pictures) == told and pictures.sources[0].starts == [0, 3, 6, 7]
  assert pictures.where(6) == f'{root}/data-00000-of-00003.arrow, row 0 of group 2'
  again = pickle.loads(pickle.dumps(pictures))
  assert seen(again) == told and again.name == pictures.name
  order = loader.record_order(pictures, 0)
  assert sorted(order[k] for k in range(N)) == list(range(N))
  made_of = prepared(made.config(tmp_path, source='parquet', path=str(root)),
                     tmp_path / 'out')
  assert seen(read(**made_of)) == told
  assert seen(read(source='parquet', path=f'{root}/data-*.arrow')) == told


@pytest.mark.parametrize('text', ['{"step": 3}', '[]', 'none'])
def test_the_state_of_another_tool_is_nothing_to_us(text, read, tmp_path):
  made.parquet(tmp_path / 'in' / 'a.parquet', N)
  (tmp_path / 'in' / 'state.json').write_text(text)
  assert len(read(source='parquet', path=str(tmp_path / 'in'))) == N


@pytest.mark.parametrize('members, expected, problem', [
    ([('1.png', 1), ('1.jpg', 2), ('1.txt', 'one')], {1: 'one'},
     'second picture or caption of a key'),
    ([('1.png', 1), ('1.png', 2), ('1.txt', 'one')], {1: 'one'},
     'second picture or caption of a key'),
    ([('1.txt', 'one'), ('1.png', 1), ('1.txt', 'two')], {1: 'one'},
     'second picture or caption of a key'),
    ([('1.png', 1), ('1.txt', 'one'), ('2.png', 2), ('2.txt', 'two'), ('1.png', 3),
      ('1.txt', 'new')], {1: 'one', 2: 'two'}, 'key that came before'),
    ([('1.png', 1), ('1.txt', 'one'), ('2.png', 2), ('2.txt', 'two'), ('1.txt', 'new')],
     {1: 'one', 2: 'two'}, 'key that came before')])
def test_what_comes_twice_in_a_tar_is_counted(
    members, expected, problem, read, tmp_path):
  made.tar(tmp_path / 'a.tar', [
      (name, x.encode() if isinstance(x, str) else made.encoded(x))
      for name, x in members])
  pictures = read(source='webdataset', path=f'{tmp_path}/a.tar')
  assert seen(pictures) == expected and pictures.problems() == {problem: 1}


def test_the_same_key_in_two_shards_or_folders_is_no_problem(read, tmp_path):
  for shard in 'ab':
    made.tar(tmp_path / f'{shard}.tar', [
        (f'{folder}/1.{kind}', data) for folder in 'xy'
        for kind, data in (('png', made.encoded(1)), ('txt', b'one'))])
  pictures = read(source='webdataset', path=str(tmp_path / '*.tar'))
  assert len(pictures) == 4 and pictures.problems() == {}


@pytest.mark.parametrize('ending, kind', [
    ('tif', 'TIFF'), ('tiff', 'TIFF'), ('avif', 'AVIF')])
@pytest.mark.parametrize('source', ['folder', 'webdataset'])
def test_other_formats_are_pictures(ending, kind, source, read, tmp_path):
  files = [(f'1.{ending}', made.encoded(7, kind=kind)), ('1.txt', b'seven')]
  (tmp_path / 'in').mkdir()
  if source == 'folder':
    for name, data in files:
      (tmp_path / 'in' / name).write_bytes(data)
  else:
    made.tar(tmp_path / 'in' / 'a.tar', files)
  pictures = read(source=source, path=str(tmp_path / 'in'))
  assert seen(pictures) == {7: 'seven'}
  assert inspect.look(pictures, 0)['format'] == kind


class Hub(fsspec.AbstractFileSystem):
  """Stands for huggingface_hub's HfFileSystem: a file has a blob_id, and no time."""
  protocol = 'hubtest'
  files = {}

  def ls(self, path, detail=True, **kwargs):
    path = self._strip_protocol(path)
    found = {}
    for name, data in self.files.items():
      inner = name.removeprefix(f'{path}/').partition('/')
      if name == path or not inner[1] and name.startswith(f'{path}/'):
        found[name] = {'name': name, 'size': len(data), 'type': 'file', 'blob_id': 'x'}
      elif name.startswith(f'{path}/'):
        folder = f'{path}/{inner[0]}'
        found[folder] = {'name': folder, 'size': 0, 'type': 'directory'}
    if not found:
      raise FileNotFoundError(path)
    return list(found.values()) if detail else list(found)

  def _open(self, path, mode='rb', **kwargs):
    return io.BytesIO(self.files[path])


@pytest.mark.parametrize('kind, pattern', [
    ('parquet', 'train-*.parquet'), ('parquet', ''),
    ('parquet', 'train-0000{0..1}-of-00002.parquet'),
    ('webdataset', '{00000..00002}.tar'), ('webdataset', '')])
def test_an_address_of_a_hub(kind, pattern, read, tmp_path, monkeypatch):
  """hf://datasets/OWNER/NAME/... is such an address, by way of fsspec."""
  fsspec.register_implementation('hubtest', Hub, clobber=True)
  for k, part in enumerate((range(6), range(6, N))):
    pq.write_table(made.table(part, text=[made.caption(i) for i in part]),
                   tmp_path / f'train-0000{k}-of-00002.parquet')
  made.shards(tmp_path, N, 4)
  root = f'datasets/owner/name@main/{kind}'
  monkeypatch.setattr(Hub, 'files', {
      f'{root}/{path.name}': path.read_bytes()
      for path in tmp_path.glob('*.parquet' if kind == 'parquet' else '*.tar')})
  pictures = read(source=kind, path=f'hubtest://{root}/{pattern}')
  assert seen(pictures) == {i: made.caption(i) for i in range(N)}
  assert pictures.where(0).startswith(f'hubtest://{root}/')


def test_sources_say_whether_they_have_splits(tmp_path):
  known = {name for name in sources.SOURCES
           if sources.has_splits(made.config(tmp_path, source=name))}
  assert known == {'shapes', 'skills', 'emoji', 'tfds'}


def test_pixels_that_are_floating_point_numbers_are_refused(read, tmp_path):
  Image.fromarray(np.full((9, 9), 0.5, np.float32)).save(tmp_path / 'a.tiff')
  (tmp_path / 'a.txt').write_text('x')
  found = inspect.look(read(source='folder', path=str(tmp_path)), 0)
  assert str(found['bad']) == 'damaged picture: pixels are floating-point numbers'
