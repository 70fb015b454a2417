"""WebDataset tar shards, as img2dataset writes them: KEY.jpg, KEY.txt, KEY.json, ...

A tar has no table of contents. So its headers are walked once, and where each picture
lies is kept with its captions in an index; after that any record is one read of its
bytes, in any order, local or remote. The walk reads every caption but no picture from a
disk; a remote store may send more. Nothing is ever extracted.
"""
import collections
import concurrent.futures
import contextlib
import json
import os
import tarfile

import pyarrow as pa

from data import captions, images, index
from data.problems import Bad
from data.sources import paths

MOST_TEXT = 1 << 20  # bytes of a caption or JSON member that are read
SCHEMA = pa.schema([('shard', pa.int32()), ('offset', pa.int64()), ('size', pa.int64()),
                    ('key', pa.binary()), ('captions', pa.list_(pa.binary()))])


class WebDataset(index.Indexed):
  """[i] -> {'image': bytes, 'captions': [bytes, ...]}, in the order of the shards."""
  files = staticmethod(lambda path: paths.find(path, ('.tar',)))

  def __init__(self, c, may_be_empty: bool = False):
    """Raises ValueError where no shard matches, one is no tar, or none has a picture.

    may_be_empty: True for one shard of many.
    """
    shards = self.files(c.path)
    self.shards = [shard['path'] for shard in shards]
    stamp = [list(shard.values()) for shard in shards]  # path, size, stamp
    wanted = captions.where(c)
    takes = wanted or f'.txt, or one of {list(captions.NAMES)} in .json'
    super().__init__(
        c, c.path, lambda old: old == stamp,
        lambda: build(shards, stamp, wanted, c.threads),
        takes=f'{takes}, see config.data.caption', may_be_empty=may_be_empty)

  def __getitem__(self, i):
    shard, start = self.shards[self.value('shard', i)], self.value('offset', i)
    fs, path = paths.system(shard)
    try:
      image = fs.cat_file(path, start=start, end=start + self.value('size', i))
    except Exception as e:  # each store has errors of its own
      raise Bad('unreadable file', f'{shard}: {e}') from e
    return {'image': image, 'captions': self.captions(i)}

  def where(self, i) -> str:
    return f'{self.shards[self.value("shard", i)]}:{os.fsdecode(self.value("key", i))}'


def build(shards, stamp, wanted: str | None, threads: int):
  """Schema, rows and what is to be said of them, for index.cached."""
  about = {'stamp': stamp, 'problems': collections.Counter()}
  def rows():
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
      for shard, (found, problems) in enumerate(pool.map(
          lambda s: walk(s['path'], s['size'], wanted), shards)):
        about['problems'].update(problems)
        for row in found:
          yield shard, *row
  return SCHEMA, rows(), about


def walk(path: str, size: int, wanted: str | None):
  """Reads the headers and captions of one shard.

  Members with the same name up to the first dot of its last part belong together, as
  long as they follow one another. Left out: hidden files and what macOS leaves beside
  others. Left out and counted: what is `unfit`; records without a picture; what comes
  a second time, be it a key or a member of it; what lies behind the place where a shard
  is cut.

  Returns ([(offset, size, key, captions)], {problem: count}); ValueError for no tar.
  """
  rows, problems, record, keys = [], collections.Counter(), {}, set()
  read = () if wanted in (None, *captions.FOLDERS) else (
      '.txt', '.json', wanted.lower())
  def finish():
    key = record.get('key')
    if key in keys:
      problems['key that came before'] += 1
    elif 'image' in record:
      rows.append((*record['image'], os.fsencode(key), captions.of_folder(key, wanted)
                   if wanted in captions.FOLDERS else captions_of(record, wanted)))
      keys.add(key)
    elif record:
      problems['record without a picture'] += 1
    record.clear()
  fs, inner = paths.system(path)
  with fs.open(inner, 'rb') as f:
    try:
      tar = tarfile.open(fileobj=f, mode='r:')
    except tarfile.TarError as e:
      if not size:
        return [], {'empty shard': 1}
      raise ValueError(f'config.data.path: {path} is not a plain tar ({e}); a packed '
                       'one must be unpacked, as only that can be read in any order.'
                       ) from e
    with contextlib.suppress(tarfile.TarError):
      while member := tar.next():
        tar.members.clear()  # it would keep every header
        folder, name = os.path.split(member.name)
        stem, _, kind = name.partition('.')
        key, kind = os.path.join(folder, stem), f'.{kind.lower()}'
        kind = 'image' if kind in images.ENDINGS else kind
        if problem := unfit(member):
          problems[problem] += 1
        elif member.isfile() and not paths.is_junk(member.name):
          if record.get('key') != key:
            finish()
            record['key'] = key
          if member.offset_data + member.size > size:  # the rest of it is missing
            record.clear()
          elif kind in record:
            problems['second picture or caption of a key'] += 1
          elif kind == 'image':
            record[kind] = member.offset_data, member.size
          elif kind in read:
            f.seek(member.offset_data)
            record[kind] = f.read(min(member.size, MOST_TEXT))
    finish()
    f.seek(min(tar.offset, size))
    if f.read(512) != bytes(512):  # a whole tar ends in blocks of zeros
      problems['shard cut short'] += 1
  return rows, problems


def unfit(member) -> str | None:
  """Why a member of a tar is left out (for its name, kind or size), or None."""
  name = member.name
  if name.startswith('/') or '..' in name.split('/') or '\0' in name:
    return 'unsafe name'
  if not (member.isfile() or member.isdir()) or member.issparse():
    return 'link or special file'
  return 'file too large' if member.size > images.MOST_BYTES else None


def captions_of(texts: dict[str, bytes], wanted: str | None) -> list[bytes]:
  """The captions among a record's text members {.ending in small letters: bytes}.

  wanted: '.ENDING' of a member, a field of .json, '' for .txt and, without one, the
    first of captions.NAMES in .json, or None for none.
  """
  if wanted is None:
    return []
  if wanted.startswith('.') or (not wanted and '.txt' in texts):
    ending = (wanted or '.txt').lower()
    return [texts[ending]] if ending in texts else []
  try:
    fields = json.loads(texts.get('.json', b''))
  except ValueError:
    return []
  if not isinstance(fields, dict):
    return []
  name = wanted or next((n for n in captions.NAMES if n in fields), '')
  return captions.as_bytes(captions.inside(fields, name)) if name else []
