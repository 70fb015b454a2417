"""Features of many pictures, gathered batch by batch: as moments, or row by row."""
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from data import images
from evaluation import features, moments, resuming
from evaluation.scores import Need
from training import sharding

MOST_ROWS = 50_000  # that are kept; the pictures after them count in moments alone


class Kind(NamedTuple):
  """Attributes:
    add: (what there is or None, f32[b d]) -> what there is then.
    done: what there is -> what metrics are given.
  """
  add: Callable
  done: Callable


def add_rows(found, rows):
  """A list of f32[b d], of MOST_ROWS rows at most."""
  found = found or []
  return [*found, rows[:MOST_ROWS - sum(map(len, found))]]


KINDS = {
    'moments': Kind(lambda found, rows: moments.merge(found, moments.of_rows(rows)),
                    lambda found: found),
    'rows': Kind(add_rows, np.concatenate)}


@functools.cache
def network(name: str, preprocessing: str = ''):
  """A FeatureNetwork, read once, that takes grey pictures, too. As features.load."""
  found = features.load(name, preprocessing=preprocessing or None)
  def preprocess(pictures):
    return found.preprocess(pictures.repeat(3 // pictures.shape[-1], -1))
  return found._replace(preprocess=preprocess)


@functools.cache
def extractor(name: str, preprocessing: str, mesh):
  """uint8[b h w c], this process's part of a batch -> {output: f32[all of it, width]}.

  Pictures are prepared on the host that has them; the network runs on all devices, and
  sees grey as three channels alike.
  """
  found = network(name, preprocessing)
  params = jax.device_put(found.params, sharding.replicated(mesh))
  apply = jax.jit(found.apply)
  def extract(pictures):
    prepared = sharding.shard_local(found.preprocess(images.as_colours(pictures)), mesh)
    return sharding.gather(apply(params, prepared))
  return extract


def need_of(kind: str, name: str, output: str = '', preprocessing: str = '') -> Need:
  """A Need; output: '' for the first of the network's. Raises as `network`."""
  return Need(kind, name, output or next(iter(network(name, preprocessing).outputs)),
              preprocessing)


def check(needs):
  """Raises ValueError or OSError for a network or output that there is not."""
  for need in needs:
    outputs = network(need.network, need.preprocessing).outputs
    if need.output not in outputs:
      raise ValueError(f'the feature network {need.network!r} has no output '
                       f'{need.output!r}; it has {sorted(outputs)}.')


def gather(needs, read, num: int, mesh, batch: int, *, store=None, progress=None):
  """{need: moments.Moments, or rows f32[num or MOST_ROWS, d]} of pictures 0 to num - 1.

  The moments do not depend on how pictures fall into batches, up to rounding in
  float64; rows are in the pictures' order.

  Args:
    read: int[batch] -> uint8[b h w c], this process's equal part of those pictures.
    batch: pictures at a time, over all devices, a multiple of their number.
    store: None, or a resuming.Store, in which what is gathered is kept on the way.
    progress: None, or called with the number of pictures that are done.
  """
  found, saves = resuming.load(store, needs) if store else ({}, [])
  wanted = list(dict.fromkeys((need.network, need.preprocessing) for need in needs))
  for start in range(saves[-1] if saves else 0, num, batch):
    end = min(start + batch, num)
    pictures = read(np.minimum(np.arange(start, start + batch), num - 1))  # filled up
    outputs = {key: extractor(*key, mesh)(pictures) for key in wanted}
    for need in needs:
      rows = outputs[need.network, need.preprocessing][need.output][:end - start]
      found[need] = KINDS[need.kind].add(found.get(need), rows)
    if store and (end == num or end // store.every > start // store.every):
      saves = resuming.save(store, found, saves, end)
    if progress:
      progress(end)
  return {need: KINDS[need.kind].done(value) for need, value in found.items()}
