"""What `python -m data.prepare` wrote: ArrayRecord shards with a manifest.

A record is a msgpack map {'image': bytes, 'captions': [str, ...], 'from': str} and, in
sets prepared since sizes are kept, 'original': [height, width] before resizing.
"""
import json
import os

from array_record.python.array_record_data_source import ArrayRecordDataSource
import msgpack

from data.problems import Bad

MANIFEST = 'manifest.json'


class Shards:
  """[i] -> {'image': bytes, 'captions': [str, ...]}, shard by shard."""

  def __init__(self, c):
    """c: a config's `data`; `path` is the folder with the manifest.

    Raises:
      ValueError: there is no manifest, or a shard is not as it says.
    """
    self.root = os.path.abspath(os.path.expanduser(c.path))
    manifest = read_manifest(self.root)
    if manifest is None:
      raise ValueError(f'config.data.path is {c.path!r}, which has no {MANIFEST}; '
                       'python -m data.prepare writes it last, when all is done.')
    shards = [shard for shard in manifest['shards'] if shard['records']]
    for shard in shards:
      path = os.path.join(self.root, shard['file'])
      size = os.path.getsize(path) if os.path.exists(path) else -1
      if size != shard['bytes']:
        raise ValueError(f'{path} has {max(size, 0):,} bytes; {MANIFEST} says '
                         f'{shard["bytes"]:,}.')
    if not shards:
      raise ValueError(f'config.data.path is {c.path!r}, which holds no records.')
    self._records = ArrayRecordDataSource(
        [os.path.join(self.root, shard['file']) for shard in shards])
    self.problems = {}
    self.name = f'array_record:{manifest["sum"]}'

  def __len__(self):
    return len(self._records)

  def __getitem__(self, i):
    return self.fetch([i])[0]

  def fetch(self, numbers: list[int]) -> list[dict]:
    try:
      return [msgpack.unpackb(data) for data in self._records.__getitems__(numbers)]
    except (ValueError, RuntimeError) as e:  # bits have changed
      raise Bad('unreadable file', str(e)) from e

  def captions(self, i):
    return self[i]['captions']

  def where(self, i) -> str:
    return self[i]['from']


def read_manifest(root: str) -> dict | None:
  """What the manifest in a folder says; None if there is none.

  Raises ValueError for one that cannot be read.
  """
  path = os.path.join(root, MANIFEST)
  if not os.path.exists(path):
    return None
  try:
    with open(path, encoding='utf-8') as f:
      return json.load(f)
  except ValueError as e:
    raise ValueError(f'{path} cannot be read: {e}') from e
