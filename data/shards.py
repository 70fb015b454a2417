"""Any source -> ArrayRecord shards of resized pictures, shard by shard.

A shard is one job: written to a name of its own and moved into place when whole, with a
note of what is in it. So jobs run anywhere, in any order, twice, or again after a stop.
The manifest comes last and is what makes a folder readable (sources/array_record.py).
"""
import collections
import contextlib
import hashlib
import io
import json
import os
import tempfile
import uuid
import zlib

from array_record.python.array_record_module import ArrayRecordWriter
from ml_collections import ConfigDict
import msgpack
import numpy as np

from console.errors import writing
from data import captions, images, sources
from data.problems import Bad
from data.sources import array_record, paths

PLAN, NOTES = 'plan.json', 'notes'
ENCODINGS = {'jpeg': 'JPEG', 'png': 'PNG', 'ppm': 'PPM'}
SETTINGS = ('source', 'image', 'max_pixels', 'min_side', 'max_caption')


def plan(c, out: str, *, size, encoding: str, quality: int, shards: int) -> dict:
  """What is to be done: {'settings': ..., 'jobs': [...]}, all of it JSON.

  A tar or Parquet file is a job where there are many; else a range of records is, of
  `shards` in all.

  Raises ValueError for a mixture, or a source that is not as it should be.

  c: a config's `data`.
  size: pixels of the shorter side, at most; or a height and width to cover.
  quality: of JPEG, 1 to 100.
  """
  if c.mixture:
    raise ValueError('config.data.mixture is for training; prepare each source by '
                     'itself and mix what comes of it.')
  sources.check_choices(c)
  height, width = images.height_width(size)
  settings = {key: c[key] for key in SETTINGS} | {
      'caption': captions.where(c),
      'size': height if height == width else [height, width], 'encoding': encoding,
      'quality': quality if encoding == 'jpeg' else None}
  if c.channels != 3:  # which plans of earlier versions do not name
    settings['channels'] = c.channels
  kind = sources.SOURCES[c.source]
  files = kind.files(c.path) if hasattr(kind, 'files') else []
  if len(files) > 1:
    stamp = json.dumps([list(f.values()) for f in files])  # path, size, stamp
    settings['input'] = hashlib.sha256(stamp.encode()).hexdigest()[:16]
    parts = [{'path': f['path'], 'start': 0, 'stop': None} for f in files]
  else:
    sources.prepare(c)
    records = kind(c)
    settings['input'], n = records.name, len(records)
    count = min(shards, n)
    parts = [{'path': c.path, 'start': n * k // count, 'stop': n * (k + 1) // count}
             for k in range(count)]
  shared = {'out': out, 'data': json.loads(c.to_json()), 'settings': settings}
  name = 'pictures-{:05}-of-{:05}.array_record'
  return {'settings': settings, 'jobs': [
      shared | part | {'file': name.format(k, len(parts))}
      for k, part in enumerate(parts)]}


def manifest(out: str, plan: dict) -> dict | None:
  """The manifest in `out`, if the plan is done; None if there is none.

  Raises ValueError where another plan was done there.
  """
  fs, root = paths.system(out)
  found = read_json(fs, f'{root}/{array_record.MANIFEST}')
  if found and found['settings'] != plan['settings']:
    raise ValueError(f'--out={out} holds what was prepared with other settings; give a '
                     'new folder.')
  return found


def begin(plan: dict, out: str) -> list[dict]:
  """Writes down what is to be done; the jobs that are not done yet.

  Raises ValueError where `out` holds something else, or the same with other settings.
  """
  fs, root = paths.system(out)
  known, settings = read_json(fs, f'{root}/{PLAN}'), plan['settings']
  if known is None:
    if fs.exists(root) and fs.ls(root):
      raise ValueError(f'--out={out} is not empty and holds no {PLAN}; give a new '
                       'folder.')
    with writing(f'--out={out}'):
      fs.makedirs(f'{root}/{NOTES}', exist_ok=True)
      write_json(fs, f'{root}/{PLAN}', settings)
  elif known != settings:
    other = sorted(k for k in known | settings if known.get(k) != settings.get(k))
    raise ValueError(f'--out={out} was begun with another {", ".join(other)}; go on as '
                     'it was, or give a new folder.')
  done = {os.path.basename(note) for note in fs.find(f'{root}/{NOTES}')}
  return [job for job in plan['jobs'] if f'{job["file"]}.json' not in done]


def write_shard(job: dict) -> dict:
  """Does one job. Returns its note, which is also written beside the shard."""
  c, kind = ConfigDict(job['data']), sources.SOURCES[job['settings']['source']]
  fs, root = paths.system(job['out'])
  target, temporary = f'{root}/{job["file"]}', tempfile.gettempdir()
  with tempfile.TemporaryDirectory() as folder:
    if job['stop'] is None:
      c.path, c.dir = job['path'], folder  # an index of this file alone
      with writing(temporary):
        records = kind(c, may_be_empty=True)
      stop, counts = len(records), collections.Counter(records.problems)
    else:
      records, stop, counts = kind(c), job['stop'], collections.Counter()
    with atomic_write(fs, target) as new:
      here = paths.is_local(fs)
      path = new if here else os.path.join(folder, job['file'])
      with writing(f'--out={job["out"]}' if here else temporary):
        written = write_records(path, records, range(job['start'], stop), c,
                                job['settings'], counts)
      note = {'file': job['file'], 'records': written, 'bytes': os.path.getsize(path),
              'crc32': zlib.crc32(np.memmap(path, mode='r')), 'problems': counts}
      if not here:
        fs.put_file(path, new)
  with writing(f'--out={job["out"]}'):
    write_json(fs, f'{root}/{NOTES}/{job["file"]}.json', note)
  return note


def write_records(path: str, records, numbers, c, settings: dict, counts) -> int:
  """Writes those records of a source that are good; how many there are.

  counts: Counter of the reasons of the others, which is added to.
  """
  writer, written = ArrayRecordWriter(path, 'group_size:1'), 0
  for i in numbers:
    try:
      record = records[i]
      texts = captions.usable(record['captions'], c)
      image, original = resized(record['image'], settings)
    except Bad as e:
      counts[e.reason] += 1
      continue
    writer.write(msgpack.packb(
        {'image': image, 'captions': texts, 'from': records.where(i),
         'original': record.get('original', original)}))
    written += 1
  writer.close()
  return written


def resized(data: bytes, settings: dict):
  """(bytes of a picture brought down until it covers `size`, (h, w) before that).

  What is small enough, in the format and the channels asked for stays as it is.
  """
  kind, quality = ENCODINGS[settings['encoding']], settings['quality'] or 0
  picture, stored_kind, original = images.shrunk(
      data, images.height_width(settings['size']), settings.get('channels', 3),
      most=settings['max_pixels'], least=settings['min_side'])
  if stored_kind == kind:
    return data, original
  out = io.BytesIO()  # of a JPEG at high quality, colours in full resolution too
  picture.save(out, kind, quality=quality, subsampling=0 if quality > 90 else 2,
               compress_level=1)
  return out.getvalue(), original


def finish(plan: dict, out: str) -> dict:
  """Writes the manifest of a folder whose jobs are all done, and tidies up."""
  fs, root = paths.system(out)
  each = [read_json(fs, f'{root}/{NOTES}/{job["file"]}.json') for job in plan['jobs']]
  problems = collections.Counter()
  for note in each:
    problems.update(note.pop('problems'))
  manifest = {
      'records': sum(note['records'] for note in each), 'problems': problems,
      'sum': hashlib.sha256(json.dumps(each).encode()).hexdigest()[:16],
      'settings': plan['settings'], 'shards': each}
  for left in fs.ls(root, detail=False):
    if left.endswith('.new'):  # by a worker that was killed
      fs.rm_file(left)
  with writing(f'--out={out}'):
    write_json(fs, f'{root}/{array_record.MANIFEST}', manifest)
  fs.rm(f'{root}/{NOTES}', recursive=True)
  return manifest


@contextlib.contextmanager
def atomic_write(fs, path: str):
  """As console.files.atomic_write, in any file system of fsspec."""
  new = f'{path}.{uuid.uuid4().hex[:8]}.new'
  try:
    yield new
    fs.mv(new, path)
  finally:
    if fs.exists(new):
      fs.rm_file(new)


def write_json(fs, path: str, value):
  with atomic_write(fs, path) as new:
    fs.pipe_file(new, json.dumps(value, indent=1).encode())


def read_json(fs, path: str):
  return json.loads(fs.cat_file(path)) if fs.exists(path) else None
