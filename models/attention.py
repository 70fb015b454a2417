"""Attention, through one function."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


def attend(q, k, v, mask=None):
  """Softmax attention with a float32 softmax.

  Args:
    q: [b n heads d]. k, v: [b m heads d].
    mask: bool[b m], True where a key is to be seen; None sees all.

  Returns:
    [b n heads d].
  """
  if mask is not None:
    mask = mask[:, None, None, :]
  return jax.nn.dot_product_attention(q, k, v, mask=mask)


class Attention(nn.Module):
  """Multi-head attention of tokens over themselves or over a context.

  Attributes:
    heads: number of heads; it divides the width.
    qk_norm: normalise queries and keys (arXiv:2302.05442), which keeps bfloat16 stable.
    zero: start the output at zero, so that a residual starts as the identity.
  """
  heads: int
  qk_norm: bool = False
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, context=None, mask=None):
    """x: [b n d]. context: [b m e], None for x. mask: bool[b m]. Returns [b n d]."""
    width = x.shape[-1]
    context = x if context is None else context
    def project(name, y):
      return nn.DenseGeneral((self.heads, width // self.heads), use_bias=False,
                             dtype=self.dtype, name=name)(y)
    q, k, v = project('q', x), project('k', context), project('v', context)
    if self.qk_norm:
      q, k = (nn.RMSNorm(dtype=jnp.float32, name=name)(y).astype(self.dtype)
              for name, y in (('q_norm', q), ('k_norm', k)))
    last = nn.initializers.zeros if self.zero else nn.linear.default_kernel_init
    return nn.DenseGeneral(width, axis=(-2, -1), dtype=self.dtype, kernel_init=last,
                           name='out')(attend(q, k, v, mask))
