"""Attention, through one function."""
import functools
import math
from typing import Any
import warnings

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import blocked_attention, placement, tangents

LOGITS = 2**26                       # of a block, where no kernel is, on each device
LOGITS_OF = {'cpu': 2**21}           # as many as stay in its cache


def attend(q, k, v, mask=None, causal=False):
  """Softmax attention, with a float32 softmax, in the way that suits the device.

  It never holds all logits, and has every derivative, whatever the way. The devices are
  those of the mesh that is known (jax.sharding.use_abstract_mesh); else the default.

  Args:
    q: [b n heads d], as what is returned. k, v: [b m heads d].
    mask: bool[b m], True where a key is to be seen, which are the first ones: padding
      stands at the end. None sees all.
    causal: no query sees the keys after its own place. For the short texts of CLIP: it
      goes without a kernel for it.
  """
  mesh = jax.sharding.get_abstract_mesh()
  device = mesh.abstract_device
  platform = device.platform if device else jax.default_backend()
  logits = LOGITS_OF.get(platform, LOGITS) * (
      jax.device_count() if mesh.empty else
      math.prod(mesh.shape[axis] for axis in placement.compiled_axes(
          mesh, mesh.axis_names)))
  blocked = functools.partial(blocked_attention.attend, causal=causal, logits=logits)
  kernel = None
  if platform == 'gpu' and not causal and cudnn_takes(q.shape, k.shape, q.dtype,
                                                      mask is not None):
    kernel = cudnn
  if platform == 'tpu' and not causal:
    from models import splash  # Pallas takes long to import
    kernel = splash.over_devices(q)
  run = tangents.with_tangents(kernel, blocked) if kernel else blocked
  return run(q, k, v, mask)


def cudnn(q, k, v, mask=None):
  """cuDNN's, which never holds the logits; it takes lengths in place of a mask."""
  lengths = {}
  if mask is not None:
    lengths = dict(key_value_seq_lengths=mask.sum(-1, dtype=jnp.int32),
                   query_seq_lengths=jnp.full(q.shape[0], q.shape[1], jnp.int32))
  return jax.nn.dot_product_attention(q, k, v, implementation='cudnn', **lengths)


@functools.cache
def cudnn_takes(q_shape, k_shape, dtype, masked: bool) -> bool:
  """Whether cuDNN takes these shapes, forwards and backwards: it is asked once each."""
  if dtype not in (jnp.bfloat16, jnp.float16):
    return False
  q, k = (jax.ShapeDtypeStruct((1, *s[1:]), dtype) for s in (q_shape, k_shape))
  mask = jax.ShapeDtypeStruct((1, k_shape[1]), bool) if masked else None
  def total(q, k, v, mask):
    return cudnn(q, k, v, mask).astype(jnp.float32).sum()
  try:
    jax.jit(jax.grad(total, (0, 1, 2))).lower(q, k, k, mask).compile()
    return True
  except Exception as e:  # whatever cuDNN, XLA or a missing library raise
    warnings.warn(f'attention of {q_shape} over {k_shape} goes without cuDNN: '
                  f'{" ".join(str(e).split())[:160]}', stacklevel=2)
    return False


def project(x, context, heads: int, *, qk_norm: bool, bias: bool, dtype, prefix=''):
  """Queries of x [b n d], keys and values of context [b m e], each [b . heads d/heads].

  Their layers are made in the module that calls this.
  """
  q, k, v = (nn.DenseGeneral((heads, x.shape[-1] // heads), use_bias=bias, dtype=dtype,
                             name=prefix + name)(y)
             for name, y in (('q', x), ('k', context), ('v', context)))
  if qk_norm:  # arXiv:2302.05442
    q, k = (nn.RMSNorm(dtype=jnp.float32, name=prefix + name)(y).astype(dtype)
            for name, y in (('q_norm', q), ('k_norm', k)))
  return q, k, v


def merge(y, *, zero: bool, dtype, name: str):
  """Heads [b n heads d] to tokens [b n heads*d], through a layer of the caller's."""
  first = nn.initializers.zeros if zero else nn.linear.default_kernel_init
  return nn.DenseGeneral(y.shape[-2] * y.shape[-1], axis=(-2, -1), dtype=dtype,
                         kernel_init=first, name=name)(y)


class Attention(nn.Module):
  """Multi-head attention of tokens over themselves or over a context.

  Attributes:
    qk_norm: normalise queries and keys, which keeps bfloat16 stable.
    bias: add one to queries, keys and values.
    zero: start the output at zero, so that a residual starts as the identity.
    causal: no token sees those after it.
  """
  heads: int
  qk_norm: bool = False
  bias: bool = False
  zero: bool = False
  causal: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, context=None, mask=None, rotate=lambda y: y):
    """x: [b n d]. context: [b m e], None for x. mask: bool[b m]. rotate: of queries and
    keys by their places, as layers.rotary. Returns [b n d]."""
    q, k, v = project(x, x if context is None else context, self.heads,
                      qk_norm=self.qk_norm, bias=self.bias, dtype=self.dtype)
    y = attend(rotate(q), rotate(k), v, mask, self.causal)
    return merge(y, zero=self.zero, dtype=self.dtype, name='out')
