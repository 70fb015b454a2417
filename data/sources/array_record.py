"""What `python -m data.prepare` wrote: ArrayRecord shards with a manifest.

A record is a msgpack map {'image': bytes, 'captions': [str, ...], 'from': str} and, in
sets prepared since sizes are kept, 'original': [height, width] before resizing.
"""
import os

from array_record.python.array_record_data_source import ArrayRecordDataSource
import msgpack

from console import files
from data import captions
from data.problems import Bad, refused

MANIFEST = 'manifest.json'


class Records:
  """[i] of ArrayRecord files; a subclass sets `_records` and says what is `parsed`."""

  def __len__(self):
    return len(self._records)

  def __getitem__(self, i):
    return self.fetch([i])[0]

  def fetch(self, numbers: list[int]) -> list[dict]:
    try:
      return [self.parsed(data) for data in self._records.__getitems__(numbers)]
    except (ValueError, RuntimeError) as e:  # bits have changed
      raise Bad('unreadable file', str(e)) from e

  def captions(self, i):
    return self[i]['captions']


class Shards(Records):
  """[i] -> {'image': bytes, 'captions': [str, ...]}, shard by shard."""
  parsed = staticmethod(msgpack.unpackb)

  def __init__(self, c):
    """Raises ValueError for no manifest in the folder, or a shard unlike it says."""
    root = os.path.abspath(os.path.expanduser(c.path))
    path = os.path.join(root, MANIFEST)
    if not os.path.exists(path):
      raise refused('path', c.path, f', which has no {MANIFEST}; python -m '
                    'data.prepare writes it last, when all is done.')
    manifest = files.read_json(path)
    shards = {os.path.join(root, shard['file']): shard['bytes']
              for shard in manifest['shards'] if shard['records']}
    for path, expected in shards.items():
      size = os.path.getsize(path) if os.path.exists(path) else 0
      if size != expected:
        raise ValueError(f'{path} has {size:,} bytes; {MANIFEST} says {expected:,}.')
    if not shards:
      raise refused('path', c.path, ', which holds no records.')
    stored = manifest['settings'].get('caption', '')
    if stored is None and captions.where(c) is not None:
      raise refused('path', c.path, ', which was prepared without captions; '
                    f'{captions.WITHOUT}.')
    self._records = ArrayRecordDataSource(list(shards))
    self.name, self.problems = f'array_record:{manifest["sum"]}', {}

  def where(self, i) -> str:
    return self[i]['from']
