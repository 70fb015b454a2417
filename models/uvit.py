"""U-ViT: a transformer for which time, condition and patches are all tokens."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, check, layers


class Block(nn.Module):
  """A pre-norm transformer block (arXiv:2209.12152 fig. 1), with a way for a skip."""
  heads: int
  dtype: Any

  @nn.compact
  def __call__(self, x, mask, skip=None):
    """x, skip: [b n d]. mask: bool[b n]. Returns [b n d]."""
    d = x.shape[-1]
    if skip is not None:
      x = jnp.concatenate([x, skip], -1)
      x = nn.Dense(d, dtype=self.dtype, name='skip')(x)
    h = layers.Norm(eps=1e-5, name='norm_1')(x)
    x = x + attention.Attention(self.heads, dtype=self.dtype, name='self')(h, mask=mask)
    h = layers.Norm(eps=1e-5, name='norm_2')(x)
    return x + layers.MLP(4 * d, act='gelu', dtype=self.dtype, name='mlp')(h)


class UViT(nn.Module):
  """Predicts the diffusion target of a noised picture (arXiv:2209.12152).

  Attributes:
    channels: of the picture and of the prediction.
    width, heads: of the transformer.
    depth: blocks, but for the one in the middle: half of them hand a skip to the rest.
    patch: side of a patch, in pixels.
    table: the context is a class, of which each has a row, without a bias.
    conv: a last convolution over the picture.
    time: of layers.TIMES, what the network is told of t.
    remat: of layers.REMAT, what a block keeps for its gradient.
  """
  channels: int = 4
  width: int = 512
  depth: int = 12
  heads: int = 8
  patch: int = 2
  table: bool = False
  conv: bool = True
  time: str = 'steps'
  remat: str = 'all'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, text, mask, pooled):
    """x: [b h w channels]. t: f32[b]. text: [b l e]. mask: bool[b l]. pooled: unseen.

    h and w are multiples of patch. Returns f32[b h w channels].
    """
    x, h, w = layers.patches(x, self.patch, self.width, self.dtype)
    b, n, l = *x.shape[:2], text.shape[1]
    time = layers.sinusoids(layers.TIMES[self.time](t), self.width)
    tokens = [time[:, None].astype(self.dtype), x]
    if l:
      tokens.append(nn.Dense(self.width, use_bias=not self.table, dtype=self.dtype,
                             name='text')(text))
    x = jnp.concatenate(tokens, 1)  # [b 1+n+l d], padding at the end
    x = x + self.param('positions', nn.initializers.normal(0.02),
                       x.shape[1:]).astype(self.dtype)
    mask = jnp.concatenate([jnp.ones((b, 1 + n), bool), mask], 1) if l else None
    half = self.depth // 2
    def block(name):
      return Block(self.heads, self.dtype, name=name)
    x, skips = layers.repeat_with_skips(block('in_blocks'), half, self.remat, x, mask)
    x = layers.remat(block('middle'), self.remat, x, mask)
    x, _ = layers.repeat_with_skips(block('out_blocks'), half, self.remat, x, mask,
                                    skips=skips[::-1], collect=False)
    x = layers.Norm(eps=1e-5, name='norm_out')(x)[:, 1:1 + n]
    x = nn.Dense(self.channels * self.patch**2, dtype=jnp.float32, name='out')(x)
    x = layers.depth_to_space(x.reshape(b, h, w, -1), self.patch)
    if self.conv:
      x = nn.Conv(self.channels, (3, 3), dtype=jnp.float32, name='conv')(x)
    return x

  def check(self, size: int):
    """Raises ValueError for fields that do not go together, at a size in pixels."""
    key = 'config.model'
    check.transformer(self, key, size)
    if self.depth % 2:
      raise ValueError(f'{key}.depth is {self.depth}; it must be even.')
