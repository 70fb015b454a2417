"""Tables of what a source holds: built once, written whole, memory-mapped after.

A table takes no memory to speak of, is shared by all workers, and a million rows open
in milliseconds. It is two files: NAME-SUM.arrow with the rows, and NAME.json, written
last, which names it and says what it was made from.
"""
import contextlib
import hashlib
import json
import os

import pyarrow as pa

from console import files

ROWS = 1 << 16  # a batch; every batch but the last has as many
VERSION = 1     # of the layout: another one is built anew


class Index:
  """Rows of a table file. Threads and, pickled, processes may share it."""

  def __init__(self, path: str, about: dict):
    """about: what NAME.json says: 'rows', 'sum', 'problems', 'stamp' and more."""
    self.path, self.about = path, about
    self._batches = None

  def __len__(self):
    return self.about['rows']

  def __getitem__(self, i) -> dict:
    """Row i as plain Python values."""
    return {name: self.value(name, i) for name in self.batches[0].schema.names}

  def value(self, name: str, i: int):
    return self.batches[i // ROWS].column(name)[i % ROWS].as_py()

  @property
  def batches(self):
    if self._batches is None:
      with pa.memory_map(self.path) as source:
        self._batches = pa.ipc.open_file(source).read_all().to_batches()
    return self._batches

  def __getstate__(self):
    return self.__dict__ | {'_batches': None}


def cached(folder: str, key: dict, fresh, build) -> Index:
  """The table of `key`, from `folder` if it is there and still true.

  Args:
    key: what names the source: JSON.
    fresh: (what `build` gave as 'stamp') -> whether the source is still as it was.
    build: () -> (schema, rows: iterator of tuples, about: dict of JSON that may be
      filled while the rows are drawn; must have 'stamp' in the end).
  """
  name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
  base = os.path.join(folder, f'{key["source"]}-{name}')
  about = read_about(base + '.json')
  if about and about['key'] == json.loads(json.dumps(key)) and fresh(about['stamp']):
    path = os.path.join(folder, about['file'])
    if os.path.exists(path):
      return Index(path, about)
  os.makedirs(folder, exist_ok=True)
  return write_table(base, key, *build())


def read_about(path: str) -> dict | None:
  """What a NAME.json says; None if there is none of this version."""
  try:
    with open(path, encoding='utf-8') as f:
      about = json.load(f)
  except (OSError, ValueError):
    return None
  return about if about.get('version') == VERSION else None


def write_table(base: str, key: dict, schema, rows, about: dict) -> Index:
  """Writes a table and then the file that makes it count."""
  new, digest, count = f'{base}.{os.getpid()}.new', hashlib.sha256(), 0
  try:
    with pa.OSFile(new, 'wb') as sink, pa.ipc.new_file(sink, schema) as out:
      held = []
      def flush():
        columns = zip(*held) if held else [[] for _ in schema]
        out.write_batch(pa.record_batch(
            [pa.array(c, t) for c, t in zip(columns, schema.types)], schema=schema))
        held.clear()
      for row in rows:
        digest.update(repr(row).encode('utf-8', 'surrogatepass'))
        held.append(row)
        count += 1
        if len(held) == ROWS:
          flush()
      if held or not count:
        flush()
    about = about | {'version': VERSION, 'key': key, 'rows': count,
                     'sum': digest.hexdigest()[:16]}
    about['file'] = f'{os.path.basename(base)}-{about["sum"]}.arrow'
    path = os.path.join(os.path.dirname(base), about['file'])
    os.replace(new, path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(new)
  old = read_about(base + '.json')
  files.write_text(base + '.json', json.dumps(about))
  if old and old['file'] != about['file']:
    with contextlib.suppress(FileNotFoundError):
      os.remove(os.path.join(os.path.dirname(base), old['file']))
  return Index(path, json.loads(json.dumps(about)))
