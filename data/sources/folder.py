"""A folder of pictures with captions beside them.

The Hugging Face imagefolder convention: `metadata.jsonl` or `metadata.csv`, in the
folder or in any below it, with a `file_name` relative to itself; or a `.txt` file of
the same name beside each picture, with one caption a line. Where both name a picture,
metadata counts.
"""
import csv
import json
import os

import pyarrow as pa

from data import captions, index
from data.problems import Bad
from data.sources import paths

ENDINGS = ('.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp')
METADATA = ('metadata.jsonl', 'metadata.csv')
MOST_TEXT = 1 << 20  # bytes of a sidecar that are read; captions that long are bad
SCHEMA = pa.schema([('path', pa.binary()), ('size', pa.int64()),
                    ('captions', pa.list_(pa.binary()))])


class Folder:
  """[i] -> {'image': bytes, 'captions': [bytes, ...]}, in the order of the paths."""

  def __init__(self, c):
    """c: a config's `data`.

    Raises:
      ValueError: no folder, no pictures in it, or no captions.
    """
    self.root = os.path.abspath(os.path.expanduser(c.path))
    if not c.path or not os.path.isdir(self.root):
      raise ValueError(f'config.data.path is {c.path!r}, which is not a folder.')
    self.index = index.cached(
        os.path.join(c.dir, 'index'),
        {'source': 'folder', 'path': self.root, 'caption': c.caption},
        lambda stamp: all(changed(self.root, name) == at for name, at in stamp.items()),
        lambda: build(self.root, c.caption))
    about = self.index.about
    if not about['rows']:
      raise ValueError(f'config.data.path is {c.path!r}, which holds no pictures '
                       f'({" ".join(ENDINGS)}), nor do folders in it.')
    if not about['captioned']:
      raise ValueError(
          f'config.data.path is {c.path!r}: none of its {about["rows"]:,} pictures has '
          f'a caption; it takes a .txt beside each, or {" or ".join(METADATA)} with a '
          'file_name and a caption.')
    self.name, self.problems = f'folder:{about["sum"]}', about['problems']

  def __len__(self):
    return len(self.index)

  def __getitem__(self, i):
    try:
      with open(os.path.join(self.root, self.where(i)), 'rb') as f:
        return {'image': f.read(), 'captions': self.captions(i)}
    except OSError as e:
      raise Bad('unreadable file', str(e)) from e

  def captions(self, i):
    return self.index.value('captions', i)

  def where(self, i) -> str:
    return os.fsdecode(self.index.value('path', i))


def changed(root: str, name: str) -> int | None:
  """When a folder's entries, or a metadata file, last changed, in ns."""
  try:
    return os.stat(os.path.join(root, name)).st_mtime_ns
  except OSError:
    return None


def build(root: str, wanted: str):
  """Schema, rows and what is to be said of them, for index.cached."""
  stamp, told, pictures, sidecars, counts = {}, {}, [], {}, {}
  for folder in folders(root):
    here = os.path.relpath(folder, root)
    stamp[here] = changed(root, here)
    with os.scandir(folder) as entries:
      for entry in entries:
        at = os.path.normpath(os.path.join(here, entry.name))
        stem, ending = os.path.splitext(at)
        if paths.is_junk(entry.name):
          continue
        if ending.lower() in ENDINGS and entry.is_file():
          pictures.append((at, entry.stat().st_size))
        elif ending.lower() == '.txt':
          sidecars[stem] = os.path.join(root, at)
        elif entry.name in METADATA:
          stamp[at] = changed(root, at)
          told |= metadata(root, at, wanted)
  pictures.sort()
  missing = told.keys() - {path for path, _ in pictures}
  if missing:
    counts['in metadata but not there'] = len(missing)
  about = {'stamp': stamp, 'problems': counts, 'captioned': 0}
  def rows():
    for path, size in pictures:
      found = told.get(path)
      if found is None and (text := sidecars.get(os.path.splitext(path)[0])):
        found = sidecar(text)
      about['captioned'] += bool(found)
      yield os.fsencode(path), size, found or []
  return SCHEMA, rows(), about


def folders(root: str):
  """A folder and all below it but junk; links are followed, in no circle."""
  seen = set()
  for folder, inner, _ in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    if real in seen:
      inner.clear()
      continue
    seen.add(real)
    inner[:] = sorted(name for name in inner if not paths.is_junk(name))
    yield folder


def sidecar(path: str) -> list[bytes]:
  """The lines of a .txt that are not blank; where all are, one empty caption."""
  try:
    with open(path, 'rb') as f:
      lines = f.read(MOST_TEXT).splitlines()
  except OSError:
    return []
  return [line for line in lines if line.strip()] or [b'']


def metadata(root: str, at: str, wanted: str) -> dict[str, list[bytes]]:
  """Captions by path, of one metadata file.

  Raises:
    ValueError: it does not parse, or lacks `file_name` or the caption's column.
  """
  read = read_jsonl if at.endswith('.jsonl') else read_csv
  told, column, path = {}, None, os.path.join(root, at)
  try:
    for number, row in enumerate(read(path), 1):
      if 'file_name' not in row:
        raise ValueError(f'row {number} has no file_name but {sorted(row)}.')
      column = column or captions.find(row, wanted, 'column', at)
      name = os.path.normpath(os.path.join(os.path.dirname(at), row['file_name']))
      told[name] = captions.as_bytes(captions.inside(row, column))
  except (ValueError, TypeError, AttributeError) as e:
    raise ValueError(f'config.data.path: {path}: {e}') from e
  return told


def read_jsonl(path: str):
  with open(path, encoding='utf-8-sig', errors='surrogateescape') as f:
    for line in f:
      if line.strip():
        yield json.loads(line)


def read_csv(path: str):
  csv.field_size_limit(MOST_TEXT)
  with open(path, encoding='utf-8-sig', errors='surrogateescape', newline='') as f:
    try:
      yield from csv.DictReader(f)
    except csv.Error as e:
      raise ValueError(str(e)) from e
