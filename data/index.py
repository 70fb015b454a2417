"""Tables of what a source holds: built once, written whole, memory-mapped after.

A table takes no memory to speak of, is shared by all workers, and a million rows open
in milliseconds. It is two files: NAME-SUM.arrow with the rows, and NAME.json, written
last, which names it and says what it was made from.
"""
import contextlib
import hashlib
import itertools
import json
import os

import pyarrow as pa

from console import files
from console.errors import writing
from data import captions
from data.images import ENDINGS
from data.problems import refused

ROWS = 1 << 16  # a batch; every batch but the last has as many
VERSION = 1     # of the layout: another one is built anew


class Indexed:
  """A source whose records are rows of a table; a subclass has [i] and where(i).

  Threads and, pickled, processes may share it.
  """

  def __init__(self, c, path: str, fresh, build, takes: str, may_be_empty=False):
    """takes: the captions that it takes; the rest as in `cached`.

    Raises ValueError for no pictures or no captions, where it may not be empty.
    """
    self.table, about = cached(c, path, fresh, build)
    self.count, self._batches = about['rows'], None
    if not (self.count or may_be_empty):
      raise refused('path', c.path, f', which holds no pictures ({" ".join(ENDINGS)}).')
    if not (about['captioned'] or may_be_empty or captions.where(c) is None):
      raise refused('path', c.path, f': none of its {self.count:,} pictures has a '
                    f'caption; it takes {takes}; {captions.WITHOUT}.')
    self.name, self.problems = f'{c.source}:{about["sum"]}', about['problems']

  def __len__(self):
    return self.count

  def value(self, name: str, i: int):
    """What column `name` holds of record i, as a plain Python value."""
    if self._batches is None:
      with pa.memory_map(self.table) as source:
        self._batches = pa.ipc.open_file(source).read_all().to_batches()
    return self._batches[i // ROWS].column(name)[i % ROWS].as_py()

  def captions(self, i):
    return self.value('captions', i)

  def __getstate__(self):
    return self.__dict__ | {'_batches': None}


def cached(c, path: str, fresh, build) -> tuple[str, dict]:
  """A source's table, from config.data.dir if it is there and still true.

  Returns its path and what NAME.json says: 'rows', 'captioned', 'sum', 'problems', ...

  c: a config's `data`: with `path`, its source and caption name the table.
  fresh: (what `build` gave as 'stamp') -> whether the source is still as it was.
  build: () -> (schema, rows: iterator of tuples that end in the captions, about: dict
    of JSON with 'stamp', which may be filled while the rows are drawn).
  """
  key = {'source': c.source, 'path': path, 'caption': captions.where(c)}
  name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
  folder = os.path.join(c.dir, 'index')
  base = os.path.join(folder, f'{c.source}-{name}')
  about = read_about(base)
  if about and about['key'] == key and fresh(about['stamp']):
    table = os.path.join(folder, about['file'])
    if os.path.exists(table):
      return table, about
  with writing(f'config.data.dir={c.dir}'):
    os.makedirs(folder, exist_ok=True)
    return write_table(base, key, *build())


def read_about(base: str) -> dict | None:
  """What a NAME.json says; None if there is none of this version."""
  try:
    about = files.read_json(base + '.json')
  except (OSError, ValueError):
    return None
  return about if about.get('version') == VERSION else None


def write_table(base: str, key: dict, schema, rows, about: dict) -> tuple[str, dict]:
  """Writes a table and then the file that makes it count."""
  new, digest, count, captioned = f'{base}.{os.getpid()}.new', hashlib.sha256(), 0, 0
  try:
    with pa.OSFile(new, 'wb') as sink, pa.ipc.new_file(sink, schema) as out:
      while held := list(itertools.islice(rows, ROWS)):
        for row in held:
          digest.update(repr(row).encode('utf-8', 'surrogatepass'))
        out.write_batch(pa.record_batch(
            [pa.array(c, t) for c, t in zip(zip(*held), schema.types)], schema=schema))
        count, captioned = count + len(held), captioned + sum(bool(r[-1]) for r in held)
    total = digest.hexdigest()[:16]
    path = f'{base}-{total}.arrow'
    os.replace(new, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(new)
  about = about | {'version': VERSION, 'key': key, 'rows': count, 'sum': total,
                   'captioned': captioned, 'file': os.path.basename(path)}
  old = read_about(base)
  files.write_text(base + '.json', json.dumps(about))
  if old and old['file'] != about['file']:
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(os.path.dirname(base), old['file']))
  return path, about
