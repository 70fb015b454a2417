"""Statistics of true pictures: made of a config's data, or read from a file.

A file is a plain npz, without pickles. Ours has a `manifest` (JSON) that says of what,
by which networks and with which preprocessing it was made, and what is needed from it
must agree. Those of ADM, pytorch-fid, clean-fid and EDM2 have none, and are taken to be
Inception's: `mu`, `sigma` of its pool, `mu_s`, `sigma_s` of its spatial features,
`feats` rows of its pool. Ours has the same names where it has the same things.
"""
import hashlib
import json
import os
import zipfile

import jax
import numpy as np

from console import files
from evaluation import gathering, prompts
from evaluation.moments import of_covariance
from training import hosts, sharding

# Keys of config.data on which the pixels of a true picture depend.
CONTENT = ('crop', 'channels', 'max_pixels', 'min_side')
STANDARD = {'pool': ('mu', 'sigma', 'feats'),
            'spatial': ('mu_s', 'sigma_s', 'feats_s')}


def names_of(need) -> tuple[str, str, str]:
  """Names of mean, covariance and rows in a file."""
  if need.network == 'inception' and need.output in STANDARD:
    return STANDARD[need.output]
  return tuple(f'{name}/{need.network}/{need.output}'
               for name in ('mu', 'sigma', 'feats'))


def manifest(source: str, n: int, needs) -> dict:
  """What a file says of itself."""
  networks = {}
  for need in needs:
    found = gathering.network(need.network, need.preprocessing)
    networks[need.network] = {'weights': found.weights_hash,
                              'preprocessing': found.preprocessing}
  return {'source': source, 'pictures': n, 'networks': networks}


def write(path: str, found: dict, about: dict):
  """Writes {need: what was gathered} with a manifest, whole or not at all."""
  arrays = {'manifest': np.array(json.dumps(about, sort_keys=True))}
  for need, value in found.items():
    mean, covariance, rows = names_of(need)
    arrays |= ({rows: value} if need.kind == 'rows' else
               {mean: value.mean, covariance: value.covariance})
  with files.atomic_write(path) as new, open(new, 'wb') as file:
    np.savez(file, **arrays)


def read(path: str, needs) -> tuple[dict, str]:
  """({need: what is stored of it}, what the statistics are, in words).

  Raises ValueError for a file that is none, lacks something, or was made by another
  network, other weights or another preprocessing, by name; OSError for no file.
  """
  with open(path, 'rb') as file:
    digest = hashlib.file_digest(file, 'sha256').hexdigest()
  if not zipfile.is_zipfile(path):
    raise ValueError(f'{path} is not a whole npz file.')
  with np.load(path) as stored:
    about = json.loads(str(stored['manifest'])) if 'manifest' in stored else None
    for need in needs:
      check(path, about, need)
    found = {need: read_need(path, stored, need) for need in needs}
  said = f'{about["source"]}, ' if about else 'of unstated preprocessing, '
  return found, f'{said}{os.path.basename(path)} {digest[:8]}'


def check(path: str, about: dict | None, need):
  """Raises ValueError where a manifest does not agree with what is needed."""
  if about is None:
    return
  mine = manifest('', 0, [need])['networks'][need.network]
  made = about['networks'].get(need.network)
  if made is None:
    raise ValueError(f'{path} has no statistics of {need.network!r}; it has those of '
                     f'{sorted(about["networks"])}.')
  for key, value in mine.items():
    if made[key] != value:
      raise ValueError(f'{path} was made by {need.network!r} with {key} {made[key]}; '
                       f'this evaluation has {key} {value}.')


def read_need(path: str, stored, need):
  """What a file has of a need."""
  width = gathering.network(need.network, need.preprocessing).outputs[need.output]
  def array(name, *shape):
    if name not in stored:
      raise ValueError(f'{path} has no {name!r}, {need.kind} of {need.network}\'s '
                       f'{need.output!r}; it has {sorted(stored)}.')
    try:
      value = stored[name]
    except (ValueError, zipfile.BadZipFile) as e:
      raise ValueError(f'{path}: {name!r} cannot be read: {e}') from e
    if value.shape[-len(shape):] != shape:
      raise ValueError(f'{path}: {name!r} is {value.shape}, but {need.network}\'s '
                       f'{need.output!r} is {width} wide.')
    return value
  mean, covariance, rows = names_of(need)
  if need.kind == 'rows':
    return np.asarray(array(rows, width), np.float32)
  return of_covariance(array(mean, width), array(covariance, width, width))


def true_order(pictures) -> np.ndarray:
  """The numbers of true pictures in the order in which they are gathered: int[n]."""
  return np.random.default_rng(0).permutation(len(pictures))


def true_reader(pictures):
  """(read, n) for gathering.gather: true pictures in an order at random, once each.

  So that the first of them, whose rows are kept, are like all. A picture that is bad
  has a good one in its place, as in training.
  """
  order = true_order(pictures)
  def read(index):
    return np.stack([pictures.decoded_or_substitute(int(i))[0]['image']
                     for i in order[sharding.local_rows(index)]])
  return read, len(pictures)


def make(c, needs, mesh, progress=None) -> tuple[dict, dict]:
  """({need: what is gathered of it}, manifest) of a config's true pictures."""
  pictures = prompts.true_pictures(c)
  read_pictures, n = true_reader(pictures)
  found = gathering.gather(
      needs, read_pictures, n, mesh, c.sample.batch * sharding.batch_shards(mesh),
      progress=progress and progress(n, 'true pictures'))
  height, width = pictures.size
  return found, manifest(f'{n:,} pictures of {pictures.name}, {width} x {height}', n,
                         needs)


def find(c, needs, mesh, progress=None) -> tuple[dict, str]:
  """`read` of config.eval.reference; or, where that is '', of what was made before.

  What is made of config.data is kept under config.data.dir, by what it was made of.
  """
  if c.eval.reference:
    return read(c.eval.reference, needs)
  pictures = prompts.true_pictures(c)
  identity = [pictures.name, pictures.size, *(c.data[key] for key in CONTENT),
              manifest('', 0, needs), sorted(needs)]
  digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
  folder = os.path.join(c.data.dir, 'statistics')
  path = os.path.join(folder, f'{digest}.npz')
  if not os.path.exists(path):
    found, about = make(c, needs, mesh, progress)
    if jax.process_index() == 0:
      os.makedirs(folder, exist_ok=True)
      write(path, found, about)
    hosts.wait_for_all(digest)
  return read(path, needs)
