"""Parquet files with encoded pictures in a column, as on the Hugging Face hub.

A Parquet file is read by row groups, so a record costs its whole group, a hundred
pictures or so in files of the hub. Therefore training shuffles groups, and records only
among a few groups that come together (`window`), so that each is read once an epoch.
"""
import bisect
import functools
import hashlib
import threading

import pyarrow as pa
import pyarrow.parquet as pq

from data import captions
from data.problems import Bad
from data.sources import paths

NAMES = ('image', 'jpg', 'png', 'img', 'picture')  # of columns, where '' looks
HELD = 1 << 28  # bytes of row groups kept, in each process: two windows of them


class Parquet:
  """[i] -> {'image': bytes, 'captions': [str, ...]}, in the order of the rows."""
  ENDINGS = ('.parquet',)

  def __init__(self, c, may_be_empty: bool = False):
    """c: a config's `data`. may_be_empty: True for one file of many.

    Raises:
      ValueError: no file matches, one is no Parquet, or lacks the columns.
    """
    found = paths.find(c.path, self.ENDINGS)
    self.files = [f['path'] for f in found]
    first = self._open(self.files[0]).schema_arrow
    self.image, self.caption = columns(first, c.image, c.caption, self.files[0])
    self.groups, self.starts, total, most = [], [], 0, 1
    for path in self.files:
      file = self._open(path)
      columns(file.schema_arrow, self.image, self.caption, path)
      for g in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(g)
        if group.num_rows:
          self.groups.append((path, g))
          self.starts.append(total)
          total, most = total + group.num_rows, max(most, group.total_byte_size)
    if not may_be_empty and not total:
      raise ValueError(f'config.data.path is {c.path!r}, whose files have no rows.')
    self.count, self.problems = total, {}
    self.window = max(1, min(64, HELD // most // 2))  # groups
    about = [(paths.name(f['path']), f['size']) for f in found], self.starts, total
    self.name = f'parquet:{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}'
    self._open_cache()

  def _open(self, path: str):
    fs, inner = paths.system(path)
    try:
      return pq.ParquetFile(fs.open(inner, 'rb'))
    except (pa.ArrowException, OSError) as e:
      raise ValueError(f'config.data.path: {path} is not a Parquet file: {e}') from e

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
    column, _, inner = self.caption.partition('/')
    found = captions.inside(self._value(i, column), inner)
    return found if isinstance(found, list) else [found]

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
      with self._open(path) as file:
        return file.read_row_group(group, [column]).column(column)
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


def columns(schema, image: str, caption: str, at: str) -> tuple[str, str]:
  """The names of the columns with pictures and with captions.

  image, caption: what config.data asks for, '' to look for it.
  """
  names = schema.names
  if image and image not in names:
    raise ValueError(f'config.data.image is {image!r}, which is no column of {at}; it '
                     f'has {sorted(names)}.')
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
  return image, captions.find(names, caption, 'column', at)
