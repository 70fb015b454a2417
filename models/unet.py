"""One U-Net: DDPM, improved DDPM, ADM, DDPM++, NCSN++ and Stable Diffusion's.

What they share is `hourglass`; where they differ is an option of UNet. configs/papers/
spells each of them out.
"""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from models import attention, check, layers

HALF = float(np.sqrt(0.5))
KINDS = ('self', 'spatial', 'transformer')  # of attention


def hourglass(x, levels: int, blocks: int, *, block, down, up, middle, join):
  """The way of a U-Net: down through levels of half the size each, and up again.

  Args:
    x: [b h w c].
    blocks: at each level on the way down; one more on the way up.
    block: (name, x, level) -> x. down, up: (x, level) -> x of half or twice the size,
      into or out of a level. middle: x -> x.
    join: (x, what was there on the way down) -> x.
  """
  skips = [x]
  for level in range(levels):
    if level:
      x = down(x, level)
      skips.append(x)
    for i in range(blocks):
      x = block(f'down_{level}_{i}', x, level)
      skips.append(x)
  x = middle(x)
  for level in reversed(range(levels)):
    for i in range(blocks + 1):
      x = block(f'up_{level}_{i}', join(x, skips.pop()), level)
    if level:
      x = up(x, level)
  return x


class ResBlock(nn.Module):
  """Two convolutions, the second modulated by a condition: arXiv:2105.05233 eq. 3.

  Attributes:
    width: of the output.
    scale_shift: the condition scales and shifts the second normalisation; without, it
      is added before it (arXiv:2006.11239).
    way: 'down' or 'up' to resample in the block, through the filter `taps`; 'same'.
    song: divide the sum by sqrt(2), and project what skips a resampling block
      (arXiv:2011.13456 appendix H).
  """
  width: int
  groups: int
  eps: float
  scale_shift: bool
  dropout: float
  song: bool
  dtype: Any
  way: str = 'same'
  taps: tuple[int, ...] = (1, 1)

  @nn.compact
  def __call__(self, x, c):
    """x: [b h w d]. c: [b e]. Returns [b h' w' width]."""
    def conv(name, y, **kwargs):
      return nn.Conv(self.width, (3, 3), dtype=self.dtype, name=name, **kwargs)(y)
    def norm(name, y):
      return layers.Norm(self.groups, eps=self.eps, name=name)(y)
    h = nn.silu(norm('norm_1', x))
    h = conv('conv_1', layers.resampled(h, self.way, self.taps))
    parts = 2 if self.scale_shift else 1
    *scale, shift = (part[:, None, None] for part in layers.Modulation(
        parts, self.width, self.dtype, name='modulation')(c))
    h = (norm('norm_2', h) * (1 + scale[0]) + shift if self.scale_shift else
         norm('norm_2', h + shift))
    h = nn.Dropout(self.dropout, deterministic=not self.has_rng('dropout'))(nn.silu(h))
    h = conv('conv_2', h, kernel_init=nn.initializers.zeros)
    x = layers.resampled(x, self.way, self.taps)
    if x.shape[-1] != self.width or self.song and self.way != 'same':
      x = nn.Dense(self.width, dtype=self.dtype, name='skip')(x)
    return (x + h) * HALF if self.song else x + h


class SelfAttention(nn.Module):
  """Attention of all places of a picture, as a residual: arXiv:2006.11239."""
  heads: int
  groups: int
  eps: float
  qk_norm: bool
  song: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, text, mask):
    """x: [b h w d]. Returns the same; text is not seen."""
    y = layers.Norm(self.groups, eps=self.eps, name='norm')(x)
    y = attention.Attention(self.heads, self.qk_norm, bias=True, zero=True,
                            dtype=self.dtype, name='self')(
        y.reshape(y.shape[0], -1, y.shape[-1]))  # [b n d]
    y = x + y.reshape(x.shape)
    return y * HALF if self.song else y


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
    if text.shape[1]:
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
      y = layers.repeat(block, self.depth, self.remat, y, text, mask)
    else:
      y = layers.remat(block, self.remat, y, text, mask)
    if self.spatial:
      y = nn.Dense(y.shape[-1], dtype=self.dtype, name='out',
                   kernel_init=nn.initializers.zeros)(y)
      return x + y.reshape(x.shape)
    return y.reshape(x.shape)


class UNet(nn.Module):
  """Predicts the diffusion target of a noised picture.

  Attributes:
    channels: of the picture.
    out: of the prediction, more than `channels` where a variance is learned
      (arXiv:2102.09672); 0 for as many.
    width: channels by which the others count.
    mults: width of each level as a multiple of `width`; each level halves the size.
    blocks: residual blocks a level on the way down; one more on the way up.
    attention: how many attention blocks follow each residual block of a level, as many
      entries as `mults`. middle: the same, between the two blocks of the middle.
    kind: of attention. 'self': to the picture alone (arXiv:2006.11239); 'spatial':
      transformers that see the text, as in Stable Diffusion; 'transformer': the same
      without projections, each part starting as the identity.
    heads: of attention; 0 to give each `head_width` channels.
    qk_norm: normalise queries and keys.
    patch: space-to-depth at the input: the first level works at size / patch.
    positions: add a learned map of places at the input.
    groups, eps: of group normalisation.
    stem: channels of the first convolution; 0 for `width`.
    time: of layers.TIMES, what the network is told of t.
    features: of layers.FEATURES, `noise` of them; 0 for `width`.
    pooled: where the summary of the condition goes. 'after': added to the embedding of
      time; 'before': added to its features; 'mlp': as 'after', through an MLP.
    labels: how many numbers at the end of that summary tell how a picture was changed,
      as training/augment.py does: they join the features of time by their own layer.
    scale_shift: the condition scales too, in place of adding alone.
    resample: 'conv', by convolutions, on the way down with zeros before and after the
      picture as `pad` says; 'block', by residual blocks through the filter `taps`.
    song: as in arXiv:2011.13456: residuals divided by sqrt(2), projections where
      blocks resample, attention on the way up only after the last block of a level.
    input_skips: add the picture, through convolutions, at every level, as in NCSN++.
    dropout: share of activations in residual blocks, where the caller gives its rng.
    remat: of layers.REMAT, what a block keeps for its gradient.
  """
  channels: int = 3
  out: int = 0
  width: int = 128
  mults: tuple[float, ...] = (1, 2)
  blocks: int = 2
  attention: tuple[int, ...] = (1, 1)
  middle: int = 1
  kind: str = 'transformer'
  heads: int = 0
  head_width: int = 32
  qk_norm: bool = False
  patch: int = 1
  positions: bool = False
  groups: int = 32
  eps: float = 1e-6
  stem: int = 0
  time: str = 'steps'
  features: str = 'sinusoids'
  noise: int = 0
  pooled: str = 'after'
  labels: int = 0
  scale_shift: bool = True
  resample: str = 'conv'
  pad: tuple[int, int] = (0, 1)
  taps: tuple[int, ...] = (1, 1)
  song: bool = False
  input_skips: bool = False
  dropout: float = 0.0
  remat: str = 'all'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, text, mask, pooled):
    """x: [b h w channels]. t: f32[b]. text: [b l e]. mask: bool[b l]. pooled: [b e].

    h and w are multiples of patch * 2 ** (levels - 1). Returns f32[b h w out].
    """
    c = self.condition(t, pooled)
    x = layers.space_to_depth(x.astype(self.dtype), self.patch)
    picture = x
    x = self.conv('in', self.stem or self.width, x)
    if self.positions:
      x = x + self.param('positions', nn.initializers.normal(0.02),
                         x.shape[1:]).astype(x.dtype)
    def block(name, x, level):
      x = self.res_block(name, int(self.width * self.mults[level]), x, c)
      last = name.endswith(f'_{self.blocks}')
      if self.attention[level] and (last or not self.song or name.startswith('down')):
        x = self.attend(name, self.attention[level], x, text, mask)
      return x
    def middle(x):
      x = self.res_block('middle_0', x.shape[-1], x, c)
      if self.middle:
        x = self.attend('middle_0', self.middle, x, text, mask)
      return self.res_block('middle_1', x.shape[-1], x, c)
    def down(x, level):
      nonlocal picture
      x = self.down(f'down_{level}', x, c)
      if self.input_skips:
        picture = x = self.with_input(f'input_{level}', x, picture)
      return x
    x = hourglass(x, len(self.mults), self.blocks, block=block, down=down,
                  up=lambda x, level: self.up(f'up_{level}', x, c), middle=middle,
                  join=lambda x, skip: jnp.concatenate([x, skip], -1))
    x = nn.silu(layers.Norm(self.groups, eps=self.eps, name='norm_out')(x))
    x = nn.Conv((self.out or self.channels) * self.patch**2, (3, 3), name='out',
                dtype=jnp.float32, kernel_init=nn.initializers.zeros)(x)
    return layers.depth_to_space(x, self.patch)

  def check(self, size: int):
    """Raises ValueError for fields that do not go together, at a size in pixels."""
    key = 'config.model'
    check.positive(self, key, 'width', 'mults', 'blocks', 'head_width', 'patch',
                   'groups')
    check.one_of(self, key, kind=KINDS, time=layers.TIMES, features=layers.FEATURES,
                 pooled=('after', 'before', 'mlp'), resample=('conv', 'block'),
                 remat=layers.REMAT)
    check.levels(self, key, *('groups', 'heads') if self.heads else ('groups',
                                                                     'head_width'))
    if self.kind == 'self' and max(*self.attention, self.middle) > 1:
      raise ValueError(f'{key}.attention is {self.attention} and {key}.middle '
                       f'{self.middle}; with kind=self each is 0 or 1.')
    check.multiple(size, self.patch * 2 ** (len(self.mults) - 1),
                   'patch times 2 for each level but the first')

  def conv(self, name, width, x, **kwargs):
    return nn.Conv(width, (3, 3), dtype=self.dtype, name=name, **kwargs)(x)

  def condition(self, t, pooled):
    """What modulates the blocks: f32[b], [b e] -> [b 4 width]."""
    wide = 4 * self.width
    pooled, labels = jnp.split(pooled, [pooled.shape[-1] - self.labels], -1)
    c = layers.FEATURES[self.features](layers.TIMES[self.time](t),
                                       self.noise or self.width)
    seen = pooled.shape[-1] > 0
    if self.labels:
      c = c + nn.Dense(c.shape[-1], use_bias=False, dtype=self.dtype, name='labels')(
          labels)
    if seen and self.pooled == 'before':
      c = c + nn.Dense(c.shape[-1], dtype=self.dtype, name='pooled')(
          pooled * np.sqrt(pooled.shape[-1]))
    c = layers.MLP(wide, wide, 'silu', dtype=self.dtype, name='time')(c)
    if seen and self.pooled == 'after':
      c = c + nn.Dense(wide, use_bias=False, dtype=self.dtype, name='pooled')(pooled)
    if seen and self.pooled == 'mlp':
      c = c + layers.MLP(wide, wide, 'silu', dtype=self.dtype, name='pooled')(pooled)
    return c

  def res_block(self, name, width, x, c, **kwargs):
    block = ResBlock(width, self.groups, self.eps, self.scale_shift, self.dropout,
                     self.song, self.dtype, name=name, **kwargs)
    return layers.remat(block, self.remat, x, c)

  def attend(self, name, depth, x, text, mask):
    heads = self.heads or max(1, x.shape[-1] // self.head_width)
    name = f'{name}_attention'
    if self.kind == 'self':
      block = SelfAttention(heads, self.groups, self.eps, self.qk_norm, self.song,
                            self.dtype, name=name)
      return layers.remat(block, self.remat, x, text, mask)
    return Transformer(depth, heads, self.groups, self.kind == 'spatial', self.qk_norm,
                       self.remat, self.dtype, name=name)(x, text, mask)

  def down(self, name, x, c):
    width = x.shape[-1]
    if self.resample == 'block':
      return self.res_block(name, width, x, c, way='down', taps=self.taps)
    return self.conv(name, width, x, strides=(2, 2), padding=(self.pad, self.pad))

  def up(self, name, x, c):
    width = x.shape[-1]
    if self.resample == 'block':
      return self.res_block(name, width, x, c, way='up', taps=self.taps)
    return self.conv(name, width, layers.upsample(x))

  def with_input(self, name, x, picture):
    """x [b h w d] and, halved, the picture [b 2h 2w e] that it came from."""
    edge = 1 + (len(self.taps) - 1) // 2  # the filter sees what lies beyond too
    y = self.conv(name, x.shape[-1], picture, padding=edge)
    return (x + layers.resampled(y, 'down', self.taps, pad=0)) * HALF
