"""TPU's splash attention (a Pallas kernel), over padded blocks and over a mesh."""
import functools
import math

import jax
from jax.experimental.pallas.ops.tpu import splash_attention
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from models import placement

LANES = 128  # a sequence is padded to a multiple of it
BLOCKS = (512, 384, 256, LANES)  # of queries and keys that are worked on at once
HEADS = 'tensor'  # the axis of a mesh over which heads are split


def attend(q, k, v, mask=None, interpret: bool = False):
  """Attention as models.attention.attend has it; `interpret` runs it on any device."""
  b, n, heads, d = q.shape
  m = k.shape[1]
  def laid_out(y):  # [b n heads d] -> [b heads n' d]
    more = -y.shape[1] % block_size(y.shape[1])
    return jnp.pad(y, ((0, 0), (0, more), (0, 0), (0, 0))).swapaxes(1, 2)
  q, k, v = laid_out(q * d**-0.5), laid_out(k), laid_out(v)
  mask = jnp.ones((b, m), bool) if mask is None else mask
  seen = jnp.pad(mask, ((0, 0), (0, k.shape[2] - m))).astype(jnp.int32)  # padding is 0
  segments = splash_attention.SegmentIds(jnp.ones((b, q.shape[2]), jnp.int32), seen)
  run = kernel(q.shape[2], k.shape[2], heads, interpret)
  return jax.vmap(run)(q, k, v, segments).swapaxes(1, 2)[:, :n]


def block_size(length: int) -> int:
  """Of BLOCKS the largest that pads a sequence by no more than an eighth of what LANES
  would make of it."""
  least = length + -length % LANES
  return next(size for size in BLOCKS if 8 * (length + -length % size) <= 9 * least)


def kernel(n: int, m: int, heads: int, interpret: bool):
  """The kernel for n queries and m keys, both padded to their block_size."""
  rows, columns = block_size(n), block_size(m)
  sizes = splash_attention.BlockSizes(
      **dict.fromkeys(('block_q', 'block_q_dkv', 'block_q_dq'), rows),
      **dict.fromkeys(('block_kv', 'block_kv_compute', 'block_kv_dkv',
                       'block_kv_dkv_compute', 'block_kv_dq'), columns))
  all_seen = splash_attention.MultiHeadMask([splash_attention.FullMask((n, m))] * heads)
  return splash_attention.make_splash_mha(
      all_seen, head_shards=1, q_seq_shards=1, block_sizes=sizes, interpret=interpret)


def over_devices(q, interpret: bool = False):
  """`attend` for queries [b n heads d], over the devices; None where it cannot be.

  No compiler splits a kernel: over many devices each runs it on its share, for which
  the mesh is to be known where it is traced (jax.sharding.use_abstract_mesh).
  """
  run = functools.partial(attend, interpret=interpret)
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.empty:
    return run if jax.device_count() == 1 else None
  axes = placement.compiled_axes(mesh)
  batch = tuple(axis for axis in placement.BATCH if axis in axes)
  if q.shape[0] % math.prod(mesh.shape[axis] for axis in batch) or (
      q.shape[2] % mesh.shape[HEADS]):
    return None
  heads, rows = PartitionSpec(batch, None, HEADS), PartitionSpec(batch)
  def split(q, k, v, mask=None):
    mask = jnp.ones(k.shape[:2], bool) if mask is None else mask
    return jax.shard_map(run, mesh=mesh, in_specs=(heads, heads, heads, rows),
                         out_specs=heads, axis_names=set(axes), check_vma=False)(
                             q, k, v, mask)
  return split
