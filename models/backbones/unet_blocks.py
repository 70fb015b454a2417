"""What U-Nets are made of: their way down and up, residual blocks, attention."""
from typing import Any

from flax import linen as nn
import numpy as np

from models import attention, layers

HALF = float(np.sqrt(0.5))


def hourglass(x, levels: int, blocks: int, *, block, down, up, middle, join):
  """The way of a U-Net: down through levels of half the size each, and up again.

  Args:
    x: [b h w c].
    blocks: at each level on the way down; one more on the way up.
    block: (name, x, level, up, last) -> x, where `up` is said on the way up and `last`
      of the last block of a level there. down, up: (x, level) -> x of half or twice the
      size, into or out of a level. middle: x -> x.
    join: (x, what was there on the way down) -> x.
  """
  skips = [x]
  for level in range(levels):
    if level:
      x = down(x, level)
      skips.append(x)
    for i in range(blocks):
      x = block(f'down_{level}_{i}', x, level, up=False, last=False)
      skips.append(x)
  x = middle(x)
  for level in reversed(range(levels)):
    for i in range(blocks + 1):
      x = block(f'up_{level}_{i}', join(x, skips.pop()), level, up=True,
                last=i == blocks)
    if level:
      x = up(x, level)
  return x


class ResBlock(nn.Module):
  """Two convolutions, the second modulated by a condition: arXiv:2105.05233 eq. 3.

  Attributes:
    width: of the output.
    scale_shift: the condition scales and shifts the second normalisation; without, it
      is added before it (arXiv:2006.11239).
    skip_rescale: divide the sum by sqrt(2), and project what skips a resampling block
      (arXiv:2011.13456 appendix H).
    way: 'down' or 'up' to resample in the block, through `resample_filter`; 'same'.
  """
  width: int
  groups: int
  eps: float
  scale_shift: bool
  dropout: float
  skip_rescale: bool
  dtype: Any
  way: str = 'same'
  resample_filter: tuple[int, ...] = (1, 1)

  @nn.compact
  def __call__(self, x, c):
    """x: [b h w d]. c: [b e]. Returns [b h' w' width]."""
    def conv(name, y, **kwargs):
      return nn.Conv(self.width, (3, 3), dtype=self.dtype, name=name, **kwargs)(y)
    def norm(name, y):
      return layers.Norm(self.groups, eps=self.eps, name=name)(y)
    h = nn.silu(norm('norm_1', x))
    h = conv('conv_1', layers.resample(h, self.way, self.resample_filter))
    parts = 2 if self.scale_shift else 1
    *scale, shift = (part[:, None, None] for part in layers.Modulation(
        parts, self.width, self.dtype, name='modulation')(c))
    h = (norm('norm_2', h) * (1 + scale[0]) + shift if self.scale_shift else
         norm('norm_2', h + shift))
    h = nn.Dropout(self.dropout, deterministic=not self.has_rng('dropout'))(nn.silu(h))
    h = conv('conv_2', h, kernel_init=nn.initializers.zeros)
    x = layers.resample(x, self.way, self.resample_filter)
    if x.shape[-1] != self.width or self.skip_rescale and self.way != 'same':
      x = nn.Dense(self.width, dtype=self.dtype, name='skip')(x)
    return (x + h) * HALF if self.skip_rescale else x + h


class SelfAttention(nn.Module):
  """Attention of all places of a picture, as a residual: arXiv:2006.11239."""
  heads: int
  groups: int
  eps: float
  qk_norm: bool
  skip_rescale: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, text, mask):
    """x: [b h w d]. Returns the same; text is not seen."""
    y = layers.Norm(self.groups, eps=self.eps, name='norm')(x)
    y = attention.Attention(self.heads, self.qk_norm, bias=True, zero=True,
                            dtype=self.dtype, name='self')(
        y.reshape(y.shape[0], -1, y.shape[-1]))  # [b n d]
    y = x + y.reshape(x.shape)
    return y * HALF if self.skip_rescale else y


class TransformerBlock(nn.Module):
  """Self-attention, cross-attention to the text and an MLP, each a residual."""
  heads: int
  qk_norm: bool
  act: str
  eps: float
  zero: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, text, mask):
    """x: [b n d]. text: [b l e]. mask: bool[b l]. Returns [b n d]."""
    def attend(name, *args):
      return attention.Attention(self.heads, self.qk_norm, zero=self.zero,
                                 dtype=self.dtype, name=name)(*args)
    def norm(i):
      return layers.Norm(eps=self.eps, name=f'norm_{i}')(x)
    x = x + attend('self', norm(1))
    if text is not None:
      x = x + attend('cross', norm(2), text, mask)
    return x + layers.MLP(4 * x.shape[-1], act=self.act, zero=self.zero,
                          dtype=self.dtype, name='mlp')(norm(3))


class Transformer(nn.Module):
  """A transformer over the places of a picture.

  Attributes:
    depth: blocks of it.
    spatial: between two projections, as a residual: arXiv:2112.10752 appendix E.
  """
  depth: int
  heads: int
  groups: int
  spatial: bool
  qk_norm: bool
  remat: str
  dtype: Any

  @nn.compact
  def __call__(self, x, text, mask):
    """x: [b h w d]. text: [b l e]. mask: bool[b l]. Returns [b h w d]."""
    y = x.reshape(x.shape[0], -1, x.shape[-1])  # [b n d]
    if self.spatial:
      y = layers.Norm(self.groups, name='norm')(x).reshape(y.shape)
      y = nn.Dense(y.shape[-1], dtype=self.dtype, name='in')(y)
    act, eps = ('geglu', 1e-5) if self.spatial else ('gelu_tanh', 1e-6)
    block = TransformerBlock(self.heads, self.qk_norm, act, eps, not self.spatial,
                             self.dtype, name='blocks' if self.depth > 1 else 'block')
    if self.depth > 1:
      y, _ = layers.repeat([(block, self.depth)], self.remat, y, text, mask)
    else:
      y = layers.remat(block, self.remat, y, text, mask)
    if self.spatial:
      y = nn.Dense(y.shape[-1], dtype=self.dtype, name='out',
                   kernel_init=nn.initializers.zeros)(y)
      return x + y.reshape(x.shape)
    return y.reshape(x.shape)
