"""Tables with encoded pictures in a column: Parquet, as on the Hugging Face hub.

A Parquet file is read by row groups, so a record costs its whole group, a hundred
pictures or so in files of the hub. Therefore training shuffles groups, and records only
among a few groups that come together (`window`), so that each is read once an epoch.

And Arrow streams, as datasets.save_to_disk writes them: mapped into memory, where a
batch is a group and costs nothing.
"""
import bisect
import contextlib
import functools
import hashlib
import json
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq

from data import captions
from data.problems import Bad, refused
from data.sources import paths

ENDINGS, ARROW = ('.parquet',), '.arrow'  # the latter where it is named
NAMES = ('image', 'jpg', 'png', 'img', 'picture')  # of columns, where '' looks
HELD = 1 << 28  # bytes of row groups kept, in each process: two windows of them


def files(path: str) -> list[dict]:
  """As paths.find; of a folder of save_to_disk, the files that its state.json names."""
  root = path.rstrip('/')
  def read(name, key):
    fs, inner = paths.system(f'{root}/{name}')
    with contextlib.suppress(ValueError, TypeError, KeyError):  # one of another tool
      return json.loads(fs.cat_file(inner))[key] if path and fs.isfile(inner) else None
  if streams := read('state.json', '_data_files'):
    names = ','.join(stream['filename'] for stream in streams)
    return paths.find(f'{root}/{{{names}}}', ENDINGS)
  if splits := read('dataset_dict.json', 'splits'):
    raise refused('path', path, f', which holds the sets {splits}, each in a folder of '
                  'its own; name one of these.')
  return paths.find(path, ENDINGS)


class Parquet:
  """[i] -> {'image': bytes, 'captions': [str, ...]}, in the order of the rows."""
  files = staticmethod(files)

  def __init__(self, c, may_be_empty: bool = False):
    """Raises ValueError where no file matches, or one is no table with the columns.

    may_be_empty: True for one file of many.
    """
    found = self.files(c.path)
    self.image, self.caption, self.problems = c.image, captions.where(c), {}
    self.groups, self.starts, self.count, most, self.names = [], [], 0, 1, None
    for path in (f['path'] for f in found):
      schema, groups = described(path)
      self.image, self.caption = columns(schema, self.image, self.caption, path)
      names = class_names(schema, self.caption)
      if self.names not in (None, names):
        raise refused('path', c.path, f', of which {path} has other names of classes.')
      self.names = names
      for g, (rows, size) in enumerate(groups):
        if rows:
          self.groups.append((path, g))
          self.starts.append(self.count)
          self.count += rows
          most = max(most, size)
    if not may_be_empty and not self.count:
      raise refused('path', c.path, ', whose files have no rows.')
    self.window = max(1, min(64, HELD // most // 2))  # groups
    files = [(os.path.basename(f['path']), f['size']) for f in found]
    about = repr((files, self.starts, self.count))
    self.name = f'parquet:{hashlib.sha256(about.encode()).hexdigest()[:16]}'
    self._open_cache()

  def __len__(self):
    return self.count

  def __getitem__(self, i):
    image = self._value(i, self.image)
    if isinstance(image, dict):  # the hub's {'bytes': ..., 'path': ...}
      image = image.get('bytes')
    if not isinstance(image, bytes):
      raise Bad('empty file', 'the column holds no bytes here')
    return {'image': image, 'captions': self.captions(i)}

  def captions(self, i):
    if self.caption is None:
      return []
    column, _, inner = self.caption.partition('/')
    return captions.texts(captions.inside(self._value(i, column), inner), self.names)

  def where(self, i) -> str:
    at = bisect.bisect_right(self.starts, i) - 1
    path, group = self.groups[at]
    return f'{path}, row {i - self.starts[at]} of group {group}'

  def _value(self, i: int, column: str):
    at = bisect.bisect_right(self.starts, i) - 1
    with self._lock:  # or two threads would read the same group
      group = self._groups(at, column)
    return group[i - self.starts[at]].as_py()

  def _read(self, at: int, column: str):
    path, group = self.groups[at]
    try:
      return read_group(path, group, column)
    except (ValueError, pa.ArrowException, OSError) as e:
      raise Bad('unreadable file', f'{path}: {e}') from e

  def _open_cache(self):
    """Of columns of groups: pictures and captions of two windows."""
    self._groups = functools.lru_cache(4 * self.window)(self._read)
    self._lock = threading.Lock()

  def __getstate__(self):
    return self.__dict__ | {'_groups': None, '_lock': None}

  def __setstate__(self, state):
    self.__dict__.update(state)
    self._open_cache()


def open_file(path: str) -> pq.ParquetFile:
  fs, inner = paths.system(path)
  try:
    return pq.ParquetFile(fs.open(inner, 'rb'))
  except (pa.ArrowException, OSError) as e:
    raise ValueError(f'config.data.path: {path} is not a Parquet file: {e}') from e


def stream(path: str) -> pa.Table:
  """A local Arrow stream, of which nothing is in memory until it is looked at."""
  try:
    with pa.memory_map(path) as source:
      return pa.ipc.open_stream(source).read_all()
  except (pa.ArrowException, OSError) as e:
    raise ValueError(f'config.data.path: {path} is not an Arrow stream on a local '
                     f'disk: {e}') from e


def described(path: str):
  """(schema of a file, [(rows, bytes that come into memory) of each group])."""
  if path.endswith(ARROW):
    table = stream(path)
    return table.schema, [(len(chunk), 0) for column in table.columns[:1]
                          for chunk in column.chunks]
  with open_file(path) as file:
    groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
    return file.schema_arrow, [(g.num_rows, g.total_byte_size) for g in groups]


def read_group(path: str, group: int, column: str):
  """A column of a group."""
  if path.endswith(ARROW):
    return stream(path).column(column).chunk(group)
  with open_file(path) as file:
    return file.read_row_group(group, [column]).column(column)


def class_names(schema, caption: str | None) -> list[str]:
  """Names of the classes in a column, as the hub's ClassLabel has them; [] for none."""
  about = json.loads((schema.metadata or {}).get(b'huggingface', b'{}'))
  kind = captions.inside(about, f'info/features/{caption}')
  while isinstance(kind, dict) and 'feature' in kind:  # of a list
    kind = kind['feature']
  return kind.get('names', []) if isinstance(kind, dict) else []


def columns(schema, image: str, caption: str | None, at: str):
  """The names of the columns with pictures and with captions, or None for no captions.

  image, caption: what config.data asks for, '' to look for it.
  """
  names = schema.names
  if image and image not in names:
    raise refused('image', image,
                  f', which is no column of {at}; it has {sorted(names)}.')
  image = image or next((name for name in NAMES if name in names), '')
  if not image:
    raise ValueError(f'{at} has none of the columns {list(NAMES)} but {sorted(names)}; '
                     'name the one with pictures in config.data.image.')
  kind = schema.field(image).type
  if pa.types.is_struct(kind) and kind.get_field_index('bytes') >= 0:
    kind = kind.field('bytes').type
  if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
    raise ValueError(f'{at}: its column {image!r} holds {kind}, not the bytes of '
                     'pictures; config.data.image names another.')
  caption = captions.find(names, caption, 'column', at)
  if caption and not is_text(kind := leaf(schema, caption)):
    raise refused('caption', caption, f', which is {kind or "nowhere"} in {at}; it '
                  'must be text, or whole numbers of classes.')
  return image, caption


def leaf(schema, path: str) -> pa.DataType | None:
  """The type of what lies at 'a/b', inside lists too; None where nothing does."""
  kind = pa.struct(list(schema))
  for name in [*path.split('/'), None]:
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
      kind = kind.value_type
    if name and not (pa.types.is_struct(kind) and kind.get_field_index(name) >= 0):
      return None
    kind = kind.field(name).type if name else kind
  return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType | None) -> bool:
  """Whether captions.texts knows what to do with it."""
  return kind is not None and any(holds(kind) for holds in (
      pa.types.is_string, pa.types.is_large_string, pa.types.is_binary,
      pa.types.is_large_binary, pa.types.is_integer, pa.types.is_null))
