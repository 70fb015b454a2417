"""A folder of pictures with captions beside them.

The Hugging Face imagefolder convention: `metadata.jsonl`, `.csv` or `.parquet`, in the
folder or in any below it, with a `file_name` relative to itself; or a `.txt` file of
the same name beside each picture, with one caption a line. Where both name a picture,
metadata counts. Or a folder's name is the caption: of the one that a picture lies in,
or, as in torchvision's ImageFolder, of the topmost.
"""
import csv
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq

from data import captions, images, index
from data.problems import Bad, refused
from data.sources import paths

METADATA = ('metadata.jsonl', 'metadata.csv', 'metadata.parquet')
MOST_TEXT = 1 << 20  # bytes of a sidecar that are read; captions that long are bad
SCHEMA = pa.schema([('path', pa.binary()), ('size', pa.int64()),
                    ('captions', pa.list_(pa.binary()))])


class Folder(index.Indexed):
  """[i] -> {'image': bytes, 'captions': [bytes, ...]}, in the order of the paths."""

  def __init__(self, c):
    """Raises ValueError for no folder, no pictures in it, or no captions."""
    self.root = os.path.abspath(os.path.expanduser(c.path))
    if not c.path or not os.path.isdir(self.root):
      raise refused('path', c.path, ', which is not a folder.')
    super().__init__(
        c, self.root,
        lambda stamp: all(changed(self.root, name) == at for name, at in stamp.items()),
        lambda: build(self.root, captions.where(c)), takes='a .txt beside each, '
        f'{" or ".join(METADATA)} with a file_name and a caption, or the name of its '
        f'folder with config.data.caption={"|".join(captions.FOLDERS)}')

  def __getitem__(self, i):
    try:
      with open(os.path.join(self.root, self.where(i)), 'rb') as f:
        return {'image': f.read(), 'captions': self.captions(i)}
    except OSError as e:
      raise Bad('unreadable file', str(e)) from e

  def where(self, i) -> str:
    return os.fsdecode(self.value('path', i))


def changed(root: str, name: str) -> int | None:
  """When a folder's entries, or a metadata file, last changed, in ns."""
  try:
    return os.stat(os.path.join(root, name)).st_mtime_ns
  except OSError:
    return None


def build(root: str, wanted: str | None):
  """Schema, rows and what is to be said of them, for index.cached."""
  beside = wanted not in (None, *captions.FOLDERS)  # captions are in other files
  stamp, told, pictures, sidecars = {}, {}, [], {}
  for folder in folders(root):
    here = os.path.relpath(folder, root)
    stamp[here] = changed(root, here)
    with os.scandir(folder) as entries:
      for entry in entries:
        at = os.path.normpath(os.path.join(here, entry.name))
        ending = os.path.splitext(at)[1].lower()
        if paths.is_junk(entry.name):
          continue
        if ending in images.ENDINGS and entry.is_file():
          pictures.append((at, entry.stat().st_size))
        elif beside and ending == '.txt':
          sidecars[os.path.splitext(at)[0]] = os.path.join(root, at)
        elif beside and entry.name in METADATA:
          stamp[at] = changed(root, at)
          told |= metadata(root, at, wanted)
  pictures.sort()
  missing = told.keys() - dict(pictures)
  problems = {'in metadata but not there': len(missing)} if missing else {}
  def rows():
    for path, size in pictures:
      found = (captions.of_folder(path, wanted) if wanted in captions.FOLDERS
               else told.get(path))
      if found is None and (text := sidecars.get(os.path.splitext(path)[0])):
        found = sidecar(text)
      yield os.fsencode(path), size, found or []
  return SCHEMA, rows(), {'stamp': stamp, 'problems': problems}


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

  Raises ValueError where it does not parse, or lacks `file_name` or the caption's
  column.
  """
  told, column, path = {}, None, os.path.join(root, at)
  try:
    for number, row in enumerate(read_rows(path), 1):
      if 'file_name' not in row:
        raise ValueError(f'row {number} has no file_name but {sorted(row)}.')
      column = column or captions.find(row, wanted, 'column', at)
      name = os.path.normpath(os.path.join(os.path.dirname(at), row['file_name']))
      told[name] = captions.as_bytes(captions.inside(row, column))
  except (ValueError, TypeError, AttributeError, csv.Error, pa.ArrowException) as e:
    raise ValueError(f'config.data.path: {path}: {e}') from e
  return told


def read_rows(path: str):
  """The rows of a .jsonl, .csv or .parquet, as dicts."""
  if path.endswith('.parquet'):
    with pq.ParquetFile(path) as file:
      for batch in file.iter_batches():
        yield from batch.to_pylist()
    return
  csv.field_size_limit(MOST_TEXT)
  with open(path, encoding='utf-8-sig', errors='surrogateescape', newline='') as f:
    yield from (csv.DictReader(f) if path.endswith('.csv') else
                (json.loads(line) for line in f if line.strip()))
