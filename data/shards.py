"""Any source -> ArrayRecord shards of resized pictures, shard by shard.

A shard is one job: written to a name of its own and moved into place when whole, with a
note of what is in it. So jobs run anywhere, in any order, twice, or again after a stop.
The manifest comes last and is what makes a folder readable (sources/array_record.py).
"""
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

from data import captions, images, sources
from data.problems import Bad
from data.sources import array_record, paths

PLAN, NOTES = 'plan.json', 'notes'
ENCODINGS = {'jpeg': 'JPEG', 'png': 'PNG', 'ppm': 'PPM'}


def plan(c, out: str, *, size, encoding: str, quality: int, shards: int) -> dict:
  """What is to be done: {'settings': ..., 'jobs': [...]}, all of it JSON.

  A tar or Parquet file is a job where there are many; else a range of records is, of
  `shards` in all.

  Args:
    c: a config's `data`.
    size: pixels of the shorter side, at most; or a height and width to cover.
    quality: of JPEG, 1 to 100.

  Raises:
    ValueError: the source is not as it should be, or a mixture.
  """
  if c.mixture:
    raise ValueError('config.data.mixture is for training; prepare each source by '
                     'itself and mix what comes of it.')
  sources.check_choices(c)
  height, width = images.height_width(size)
  settings = {'source': c.source, 'image': c.image, 'caption': c.caption,
              'size': height if height == width else [height, width],
              'encoding': encoding,
              'quality': quality if encoding == 'jpeg' else None,
              'max_pixels': c.max_pixels, 'min_side': c.min_side,
              'max_caption': c.max_caption}
  kind = sources.SOURCES[c.source]
  files = paths.find(c.path, kind.ENDINGS) if hasattr(kind, 'ENDINGS') else []
  if len(files) > 1:
    stamp = [[f['path'], f['size'], f['stamp']] for f in files]
    settings['input'] = hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:16]
    parts = [{'path': f['path'], 'start': 0, 'stop': None} for f in files]
  else:
    sources.prepare(c)
    records = kind(c)
    settings['input'], n = records.name, len(records)
    count = min(shards, n)
    parts = [{'path': c.path, 'start': n * k // count, 'stop': n * (k + 1) // count}
             for k in range(count)]
  data = json.loads(c.to_json())
  name = 'pictures-{:05}-of-{:05}.array_record'
  jobs = [{'out': out, 'file': name.format(k, len(parts)), 'data': data,
           'settings': settings} | part for k, part in enumerate(parts)]
  return {'settings': settings, 'jobs': jobs}


def manifest(out: str, plan: dict) -> dict | None:
  """The manifest in `out`, if the plan is done; None if there is none.

  Raises ValueError where another plan was done there.
  """
  fs, root = paths.system(out)
  found = read_json(fs, f'{root}/{array_record.MANIFEST}')
  if found and found['settings'] != json.loads(json.dumps(plan['settings'])):
    raise ValueError(f'--out={out} holds what was prepared with other settings; give a '
                     'new folder.')
  return found


def begin(plan: dict, out: str) -> list[dict]:
  """Writes down what is to be done; the jobs that are not done yet.

  Raises:
    ValueError: `out` holds something else, or the same with other settings.
  """
  fs, root = paths.system(out)
  known = read_json(fs, f'{root}/{PLAN}')
  if known is None:
    if fs.exists(root) and fs.ls(root):
      raise ValueError(f'--out={out} is not empty and holds no {PLAN}; give a new '
                       'folder.')
    fs.makedirs(f'{root}/{NOTES}', exist_ok=True)
    write_json(fs, f'{root}/{PLAN}', plan['settings'])
  elif known != json.loads(json.dumps(plan['settings'])):
    other = sorted(k for k in known | plan['settings']
                   if known.get(k) != plan['settings'].get(k))
    raise ValueError(f'--out={out} was begun with another {", ".join(other)}; go on as '
                     'it was, or give a new folder.')
  done = set(finished_shards(fs, root))
  return [job for job in plan['jobs'] if job['file'] not in done]


def finished_shards(fs, root: str) -> list[str]:
  """Names of the shards that are whole."""
  if not fs.exists(f'{root}/{NOTES}'):
    return []
  return [paths.name(name).removesuffix('.json')
          for name in fs.ls(f'{root}/{NOTES}', detail=False) if name.endswith('.json')]


def write_shard(job: dict) -> dict:
  """Does one job. Returns its note, which is also written beside the shard."""
  c, settings = ConfigDict(job['data']), job['settings']
  fs, root = paths.system(job['out'])
  counts, written = {}, 0
  with tempfile.TemporaryDirectory() as folder:
    if job['stop'] is None:
      c.path, c.dir = job['path'], folder  # an index of this file alone
      records = sources.SOURCES[c.source](c, may_be_empty=True)
    else:
      records = sources.SOURCES[c.source](c)
    path = os.path.join(folder, job['file'])
    writer = ArrayRecordWriter(path, 'group_size:1')
    for i in range(job['start'], len(records) if job['stop'] is None else job['stop']):
      try:
        record = records[i]
        texts = captions.usable(record['captions'], c.max_caption)
        image, original = resized(record['image'], settings)
      except Bad as e:
        counts[e.reason] = counts.get(e.reason, 0) + 1
        continue
      writer.write(msgpack.packb(
          {'image': image, 'captions': texts, 'from': records.where(i),
           'original': record.get('original', original)}))
      written += 1
    writer.close()
    for reason, n in records.problems.items() if job['stop'] is None else ():
      counts[reason] = counts.get(reason, 0) + n
    note = {'file': job['file'], 'records': written, 'bytes': os.path.getsize(path),
            'crc32': crc(path), 'problems': counts}
    put_file(fs, path, f'{root}/{job["file"]}')
  write_json(fs, f'{root}/{NOTES}/{job["file"]}.json', note)
  return note


def resized(data: bytes, settings: dict):
  """(a picture's bytes, brought down until it just covers `size`; height and width
  before that).

  What is small enough, in the format asked for and RGB as it is stays as it is.
  """
  kind = ENCODINGS[settings['encoding']]
  picture, stored_kind, original = images.shrunk(
      data, images.height_width(settings['size']), most=settings['max_pixels'],
      least=settings['min_side'])
  if stored_kind == kind:
    return data, original
  out = io.BytesIO()
  if kind == 'JPEG':  # at high quality, colours in full resolution too
    quality = settings['quality']
    picture.save(out, kind, quality=quality, subsampling=0 if quality > 90 else 2)
  else:
    picture.save(out, kind, **({'compress_level': 1} if kind == 'PNG' else {}))
  return out.getvalue(), original


def finish(plan: dict, out: str) -> dict:
  """Writes the manifest of a folder whose jobs are all done, and tidies up."""
  fs, root = paths.system(out)
  each = [read_json(fs, f'{root}/{NOTES}/{job["file"]}.json') for job in plan['jobs']]
  problems = {}
  for note in each:
    for reason, n in note.pop('problems').items():
      problems[reason] = problems.get(reason, 0) + n
  manifest = {
      'records': sum(note['records'] for note in each), 'problems': problems,
      'sum': hashlib.sha256(json.dumps(each).encode()).hexdigest()[:16],
      'settings': plan['settings'], 'shards': each}
  write_json(fs, f'{root}/{array_record.MANIFEST}', manifest)
  fs.rm(f'{root}/{NOTES}', recursive=True)
  return manifest


def crc(path: str) -> int:
  total = 0
  with open(path, 'rb') as f:
    while block := f.read(1 << 20):
      total = zlib.crc32(block, total)
  return total


def put_file(fs, local: str, path: str):
  """Copies a file to where it belongs, whole or not at all."""
  new = f'{path}.{uuid.uuid4().hex[:8]}.new'
  try:
    fs.put_file(local, new)
    fs.mv(new, path)
  finally:
    if fs.exists(new):
      fs.rm_file(new)


def write_json(fs, path: str, value):
  with tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8') as f:
    json.dump(value, f, indent=1)
    f.flush()
    put_file(fs, f.name, path)


def read_json(fs, path: str):
  return json.loads(fs.cat_file(path)) if fs.exists(path) else None
