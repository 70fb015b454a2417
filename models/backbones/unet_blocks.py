"""What U-Nets are made of: their way down and up, residual blocks, attention."""
from typing import Any

from flax import linen as nn
import numpy as np

from models import attention, layers

HALF = float(np.sqrt(0.5))


def levels_of(net):
  """[(level, (width, depth of attention))] of a UNet, from the picture on."""
  widths = [int(net.width * mult) for mult in net.channel_mult]
  return list(enumerate(zip(widths, net.attention)))


def way_down(net, x, block, mid_attention: int):
  """The first half of `hourglass`: (x after the middle, all on the way down)."""
  skips = [x]
  for level, (width, depth) in levels_of(net):
    if level:
      skips.append(x := block(f'down_{level}', x, x.shape[-1], 0, way='down'))
    for i in range(net.num_res_blocks):
      skips.append(x := block(f'down_{level}_{i}', x, width, depth))
  x = block('middle_0', x, x.shape[-1], mid_attention, up=True)
  return block('middle_1', x, x.shape[-1], 0, up=True), skips


def hourglass(net, x, block, join, mid_attention: int, always: bool = True, added=None):
  """The way of a U-Net: down through levels of half the size each, and up again.

  Args:
    net: with width, channel_mult, num_res_blocks and attention of UNet.
    x: [b h w c].
    block: (name, x, width, depth, up=False, way='same') -> x [b h' w' width]; `depth`
      is of attention, `up` said from the middle on, and `way` of what resamples.
    join: (x, what was there on the way down) -> x.
    always: attention on the way up after each block, not the last of a level alone.
    added: (what is added to each of the way down, to the middle), or None.
  """
  x, skips = way_down(net, x, block, mid_attention)
  if added is not None:
    skips = [skip + more for skip, more in zip(skips, added[0], strict=True)]
    x = x + added[1]
  count, levels = net.num_res_blocks, levels_of(net)
  for level, (width, depth) in reversed(levels):
    for i in range(count + 1):
      x = block(f'up_{level}_{i}', join(x, skips.pop()), width,
                depth if always or i == count else 0, up=True)
    if level:
      x = block(f'up_{level}', x, x.shape[-1], 0, up=True, way='up')
  return x


class ResBlock(nn.Module):
  """Two convolutions, the second modulated by a condition: arXiv:2105.05233 eq. 3.

  Fields are as in UNet: without scale_shift the condition is added (arXiv:2006.11239);
  skip_rescale divides the sum by sqrt(2) and projects what skips a resampling block
  (arXiv:2011.13456 appendix H). way: 'down' or 'up' to resample in the block.
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
  def __call__(self, x, c=None):
    """x: [b h w d]. c: [b e], with which it starts as the identity. Returns [b h' w'
    width]."""
    def norm(i, y):
      return layers.Norm(self.groups, eps=self.eps, name=f'norm_{i}')(y)
    def conv(i, y, init=nn.linear.default_kernel_init):
      return nn.Conv(self.width, (3, 3), dtype=self.dtype, name=f'conv_{i}',
                     kernel_init=init)(y)
    def resampled(y):
      return layers.resample(y, self.way, self.resample_filter)
    h = conv(1, resampled(nn.silu(norm(1, x))))
    if c is None:
      h = conv(2, nn.silu(norm(2, h)))
    else:
      *scale, shift = (part[:, None, None] for part in layers.Modulation(
          1 + self.scale_shift, self.width, self.dtype, name='modulation')(c))
      h = norm(2, h) * (1 + scale[0]) + shift if scale else norm(2, h + shift)
      dropout = nn.Dropout(self.dropout, deterministic=not self.has_rng('dropout'))
      h = conv(2, dropout(nn.silu(h)), nn.initializers.zeros)
    x = resampled(x)
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
        y.reshape(len(y), -1, y.shape[-1]))  # [b n d]
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
  """`depth` blocks over the places of a picture.

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
    y = x.reshape(len(x), -1, x.shape[-1])  # [b n d]
    if self.spatial:
      y = layers.Norm(self.groups, name='norm')(x).reshape(y.shape)
      y = nn.Dense(y.shape[-1], dtype=self.dtype, name='in')(y)
    act, eps = ('geglu', 1e-5) if self.spatial else ('gelu_tanh', 1e-6)
    block = TransformerBlock(self.heads, self.qk_norm, act, eps, not self.spatial,
                             self.dtype, name='blocks' if self.depth > 1 else 'block')
    y = (layers.repeat([(block, self.depth)], self.remat, y, text, mask)[0]
         if self.depth > 1 else layers.remat(block, self.remat, y, text, mask))
    if not self.spatial:
      return y.reshape(x.shape)
    y = nn.Dense(y.shape[-1], dtype=self.dtype, name='out',
                 kernel_init=nn.initializers.zeros)(y)
    return x + y.reshape(x.shape)
