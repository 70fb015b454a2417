"""One mesh of devices with the axes data, fsdp and tensor, and what lies where on it.

A batch is spread over data and fsdp. Parameters, their average and the optimizer's
state are spread over fsdp and, by the rules below, over tensor.
"""
import math
import re

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, NamedSharding, PartitionSpec
import numpy as np

from training import rules

AXES = ('data', 'fsdp', 'tensor')
# Regex over parameter names -> the dimension that is split over `tensor`, from the end.
TENSOR = (
    (r'.*/(text_)?(q|k|v)/(kernel|bias)', -2),   # [width heads head]: by heads
    (r'.*/(self|cross|attention\w*)/\w*out/kernel', -3),       # [heads head width]
    (r'.*/(up|gate)/(kernel|bias)', -1), (r'.*/down/kernel', -2),  # columns, then rows
    (r'.*', None),
)
STACKED = '.*blocks/.*'  # whose first axis is the block: a scan takes one by one


def make_mesh(data: int = -1, fsdp: int = 1, tensor: int = 1, devices=None):
  """A mesh over the devices; one of the sizes may be -1 and takes what is left.

  Raises ValueError for sizes that are not positive or do not divide the devices there.
  """
  devices = jax.devices() if devices is None else devices
  shape, n = [data, fsdp, tensor], len(devices)
  said = ', '.join(f'config.mesh.{k}={v}' for k, v in zip(AXES, shape))
  if any(s < 1 and s != -1 for s in shape) or shape.count(-1) > 1:
    raise ValueError(f'{said}: sizes are positive, one of them may be -1.')
  if -1 in shape:
    shape[shape.index(-1)] = n // -math.prod(shape)
  used = math.prod(shape)
  if not used or n % used:
    raise ValueError(f'{said} does not fit the {n} device(s) here.')
  if used != n and jax.process_count() > 1:
    raise ValueError(f'{said} leaves some of the {n} devices without work.')
  return jax.sharding.Mesh(np.asarray(devices[:used]).reshape(shape), AXES,
                           axis_types=(AxisType.Auto,) * 3)


replicated = lambda mesh: NamedSharding(mesh, PartitionSpec())
batch_sharding = lambda mesh: NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def batch_shards(mesh) -> int:
  """Into how many parts a batch is split."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def check_batch(mesh, batch: int, accumulate: int = 1):
  """Raises ValueError where the devices do not divide a part of a batch."""
  n = batch_shards(mesh)
  if n % jax.process_count():
    raise ValueError(
        f'config.mesh gives {n} data and fsdp devices, which the {jax.process_count()} '
        'processes do not divide: a batch would not fall into one part a process.')
  if batch % (accumulate * n):
    raise ValueError(
        f'config.train.batch is {batch}; it must be a multiple of {accumulate * n} '
        f'(config.train.accumulate {accumulate} times {n} data and fsdp devices).')


def param_shardings(mesh, params):
  """A sharding for each parameter (arrays or shapes).

  The rule's dimension goes to `tensor`, the largest other one to `fsdp`, each only
  where the axis divides it; what is small enough to be a bias stays whole.
  """
  def place(name, leaf, dimension):
    spec = [None] * leaf.ndim
    first = bool(re.fullmatch(STACKED, name))
    if dimension is not None and leaf.shape[dimension] % mesh.shape['tensor'] == 0:
      spec[dimension] = 'tensor'
    free = [i for i in range(first, leaf.ndim)
            if spec[i] is None and leaf.shape[i] % mesh.shape['fsdp'] == 0]
    if free and leaf.ndim > 1 + first and not name.endswith('bias'):
      spec[max(free, key=lambda i: leaf.shape[i])] = 'fsdp'
    return NamedSharding(mesh, PartitionSpec(*spec))
  return jax.tree.map(place, rules.names(params), params,
                      rules.match(TENSOR, params, 'mesh.TENSOR'))


def place(x, sharding):
  """An array that every process has whole -> a global one of which each device gets its
  share alone. jax.device_put would first send all of it to every device, to compare."""
  return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def shard_local(batch, mesh):
  """This process's rows of a batch -> global arrays, split over the devices."""
  return jax.tree.map(lambda x: jax.make_array_from_process_local_data(
      batch_sharding(mesh), x), batch)


def shard_replicated(batch, mesh):
  """Arrays that every process has whole -> global ones, split over the devices."""
  return jax.tree.map(lambda x: place(x, batch_sharding(mesh)), batch)


def place_params(params, mesh):
  """Parameters on the host -> the same on the devices, where param_shardings says."""
  return jax.tree.map(place, params, param_shardings(mesh, params))


def gather(x):
  """A global array -> the whole of it on the host of every process."""
  if jax.process_count() == 1:
    return jax.device_get(x)
  return multihost_utils.process_allgather(x, tiled=True)


def local_rows(x):
  """This process's equal part of rows that every process has whole: see shard_local."""
  n = len(x) // jax.process_count()
  return x[jax.process_index() * n:][:n]
