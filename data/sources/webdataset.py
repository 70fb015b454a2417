"""WebDataset tar shards, as img2dataset writes them: KEY.jpg, KEY.txt, KEY.json, ...

A tar has no table of contents. So its headers are walked once, and where each picture
lies is kept with its captions in an index; after that any record is one read of its
bytes, in any order, local or remote. The walk reads every caption but no picture from a
disk; a remote store may send more. Nothing is ever extracted.
"""
import concurrent.futures
import json
import os
import tarfile

import pyarrow as pa

from data import captions, images, index
from data.problems import Bad
from data.sources import paths

PICTURES = ('jpg', 'jpeg', 'png', 'webp', 'gif', 'bmp')
MOST_TEXT = 1 << 20  # bytes of a caption or JSON member that are read
SCHEMA = pa.schema([('shard', pa.int32()), ('offset', pa.int64()), ('size', pa.int64()),
                    ('key', pa.binary()), ('captions', pa.list_(pa.binary()))])


class WebDataset:
  """[i] -> {'image': bytes, 'captions': [bytes, ...]}, in the order of the shards."""
  ENDINGS = ('.tar',)

  def __init__(self, c, may_be_empty: bool = False):
    """c: a config's `data`. may_be_empty: True for one shard of many.

    Raises:
      ValueError: no shard matches, one is no tar, or none has a picture.
    """
    shards = paths.find(c.path, self.ENDINGS)
    self.shards = [shard['path'] for shard in shards]
    stamp = [[s['path'], s['size'], s['stamp']] for s in shards]
    self.index = index.cached(
        os.path.join(c.dir, 'index'),
        {'source': 'webdataset', 'path': c.path, 'caption': c.caption},
        lambda old: old == stamp, lambda: build(shards, stamp, c.caption, c.threads))
    about = self.index.about
    if not may_be_empty and not about['rows']:
      raise ValueError(f'config.data.path is {c.path!r}: no picture '
                       f'({" ".join(PICTURES)}) in its {len(shards)} shards.')
    if not may_be_empty and not about['captioned']:
      wanted = c.caption or f'.txt, or one of {list(captions.NAMES)} in .json'
      raise ValueError(f'config.data.path is {c.path!r}: none of its {about["rows"]:,} '
                       f'pictures has a caption ({wanted}); see config.data.caption.')
    self.name, self.problems = f'webdataset:{about["sum"]}', about['problems']
    self._systems = {}

  def __len__(self):
    return len(self.index)

  def __getitem__(self, i):
    row = self.index[i]
    shard = self.shards[row['shard']]
    if shard not in self._systems:
      self._systems[shard] = paths.system(shard)
    fs, path = self._systems[shard]
    try:
      image = fs.cat_file(path, start=row['offset'], end=row['offset'] + row['size'])
    except Exception as e:  # each store has errors of its own
      raise Bad('unreadable file', f'{shard}: {e}') from e
    return {'image': image, 'captions': row['captions']}

  def captions(self, i):
    return self.index.value('captions', i)

  def where(self, i) -> str:
    row = self.index[i]
    return f'{self.shards[row["shard"]]}:{os.fsdecode(row["key"])}'

  def __getstate__(self):
    return self.__dict__ | {'_systems': {}}


def build(shards, stamp, wanted: str, threads: int):
  """Schema, rows and what is to be said of them, for index.cached."""
  about = {'stamp': stamp, 'problems': {}, 'captioned': 0}
  def rows():
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
      for shard, (found, problems) in enumerate(pool.map(
          lambda s: walk(s['path'], s['size'], wanted), shards)):
        for reason, n in problems.items():
          about['problems'][reason] = about['problems'].get(reason, 0) + n
        for row in found:
          about['captioned'] += bool(row[-1])
          yield shard, *row
  return SCHEMA, rows(), about


def walk(path: str, size: int, wanted: str):
  """Reads the headers and captions of one shard.

  Members with the same name up to the first dot of its last part belong together, as
  long as they follow one another. Left out: hidden files and what macOS leaves beside
  others. Left out and counted: links, devices and the like;
  names that are absolute or go up with `..`; records without a picture; what lies
  behind the place where a shard is cut.

  Returns:
    ([(offset, size, key, captions)], {problem: count}).

  Raises:
    ValueError: it is no tar.
  """
  rows, problems, record = [], {}, {}
  def count(reason):
    problems[reason] = problems.get(reason, 0) + 1
  def finish():
    if 'image' in record:
      rows.append((*record['image'], os.fsencode(record['key']),
                   captions_of(record.get('texts', {}), wanted)))
    elif record:
      count('record without a picture')
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
    try:
      while member := tar.next():
        tar.members.clear()  # it would keep every header
        folder, name = os.path.split(member.name)
        stem, _, kind = name.partition('.')
        key, kind = os.path.join(folder, stem), kind.lower()
        cut = member.offset_data + member.size > size
        if problem := unfit(member):
          count(problem)
        elif member.isfile() and not paths.is_junk(member.name):
          if record.get('key') != key:
            finish()
            record['key'] = key
          if cut:  # the rest of this record is missing
            record.clear()
          elif kind in PICTURES:
            record['image'] = member.offset_data, member.size
          elif kind in ('txt', 'json') or f'.{kind}' == wanted.lower():
            f.seek(member.offset_data)
            record.setdefault('texts', {})[kind] = f.read(min(member.size, MOST_TEXT))
    except tarfile.TarError:
      pass
    finish()
    f.seek(min(tar.offset, size))
    if f.read(512) != bytes(512):  # a whole tar ends in blocks of zeros
      count('shard cut short')
  return rows, problems


def unfit(member) -> str | None:
  """Why a member of a tar is left out, or None."""
  parts = member.name.split('/')
  if member.name.startswith('/') or '..' in parts or '\0' in member.name:
    return 'unsafe name'
  if not (member.isfile() or member.isdir()) or member.issparse():
    return 'link or special file'
  if member.size > images.MOST_BYTES:
    return 'file too large'
  return None


def captions_of(texts: dict[str, bytes], wanted: str) -> list[bytes]:
  """The captions among a record's text members {ending in small letters: bytes}.

  wanted: '.ENDING' of a member, a field of .json, or '' for .txt and, without one, the
    first of captions.NAMES in .json.
  """
  if wanted.startswith('.'):
    text = texts.get(wanted[1:].lower())
    return [] if text is None else [text]
  if not wanted and 'txt' in texts:
    return [texts['txt']]
  try:
    fields = json.loads(texts.get('json', b''))
  except ValueError:
    return []
  if not isinstance(fields, dict):
    return []
  name = wanted or next((n for n in captions.NAMES if n in fields), '')
  return captions.as_bytes(captions.inside(fields, name)) if name else []
