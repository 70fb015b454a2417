"""Diffusion transformers: DiT, SiT and PixArt-alpha."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, check, layers

FEATURES = 256  # sinusoids of time, and of each size
POSITIONS = ('fixed', 'learned', 'rope')
POOLED = ('table', 'mlp', 'sizes')


def modulated(x, shift, scale):
  """x: [b n d]. shift, scale: [b d]. The normalised x, moved by a condition."""
  x = layers.Norm(affine=False)(x)
  return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
  """Attention and an MLP, gated by the condition (arXiv:2212.09748 fig. 3).

  Attributes:
    shared: the condition comes as the six parts that a layer for all blocks made; a
      table of this block is added (adaLN-single, arXiv:2310.00426 section 2.3).
    cross: attend to the text, ungated, between the two.
  """
  heads: int
  qk_norm: bool
  shared: bool
  cross: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, c, text, mask, turn):
    """x: [b n d]. c: [b d], or [b 6 d] if shared. text: [b l e]. Returns [b n d]."""
    d = x.shape[-1]
    if self.shared:
      table = self.param('table', nn.initializers.normal(d**-0.5), (6, d))
      parts = [part[:, 0] for part in jnp.split(c + table.astype(self.dtype), 6, 1)]
    else:
      parts = layers.Modulation(6, d, self.dtype, name='modulation')(c)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = parts
    def attend(name, x, *args, **kwargs):
      return attention.Attention(self.heads, self.qk_norm, bias=True, dtype=self.dtype,
                                 name=name, **kwargs)(x, *args)
    h = attend('self', modulated(x, shift_1, scale_1), None, None, turn)
    x = x + gate_1[:, None] * h
    if self.cross:
      x = x + attend('cross', x, text, mask, zero=True)
    h = layers.MLP(4 * d, dtype=self.dtype, name='mlp')(modulated(x, shift_2, scale_2))
    return x + gate_2[:, None] * h


class DiT(nn.Module):
  """Predicts the diffusion target of a noised picture, patch by patch.

  Attributes:
    channels: of the picture.
    out: of the prediction, more than `channels` where a variance is learned; 0 for as
      many.
    width, depth, heads: of the transformer.
    patch: side of a patch, in pixels.
    positions: 'fixed', sinusoids of row and column, `place` apart; 'learned'; 'rope',
      rotations of queries and keys.
    qk_norm: normalise queries and keys.
    shared: one layer turns the condition into shifts, scales and gates for all blocks,
      in place of one in each (adaLN-single).
    cross: attend to the text, in each block.
    pooled: how the summary of the condition joins that of time. 'table': a row for
      each entry, as of classes; 'mlp'; 'sizes': height, width and height / width of
      what the picture was cut from, as PixArt-alpha's largest is told.
    time: of layers.TIMES, what the network is told of t.
    remat: of layers.REMAT, what a block keeps for its gradient.
  """
  channels: int = 4
  out: int = 0
  width: int = 384
  depth: int = 12
  heads: int = 6
  patch: int = 2
  positions: str = 'fixed'
  place: float = 1.0
  qk_norm: bool = False
  shared: bool = False
  cross: bool = False
  pooled: str = 'table'
  time: str = 'steps'
  remat: str = 'all'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, text, mask, pooled):
    """x: [b h w channels]. t: f32[b]. text: [b l e]. mask: bool[b l]. pooled: [b e].

    h and w are multiples of patch. Returns f32[b h w out].
    """
    x, h, w = layers.patches(x, self.patch, self.width, self.dtype)
    turn = lambda y: y
    if self.positions == 'fixed':
      x = x + layers.positions(h, w, self.width, step=self.place).astype(self.dtype)
    elif self.positions == 'learned':
      x = x + self.param('positions', nn.initializers.normal(0.02),
                         (h * w, self.width)).astype(self.dtype)
    else:
      turn = layers.rotary(h, w, self.width // self.heads)
    c = self.condition(t, pooled)
    if self.cross:
      text = layers.MLP(self.width, self.width, dtype=self.dtype, name='text')(text)
    block = Block(self.heads, self.qk_norm, self.shared, self.cross, self.dtype,
                  name='blocks')
    x = layers.repeat(block, self.depth, self.remat, x, self.parts(c), text, mask, turn)
    x = modulated(x, *self.last_parts(c))
    x = nn.Dense((self.out or self.channels) * self.patch**2, dtype=jnp.float32,
                 kernel_init=nn.initializers.zeros, name='out')(x)
    return layers.depth_to_space(x.reshape(len(x), h, w, -1), self.patch)

  def check(self, size: int):
    """Raises ValueError for fields that do not go together, at a size in pixels."""
    key = 'config.model'
    check.transformer(self, key, size)
    check.positive(self, key, 'place')
    check.one_of(self, key, positions=POSITIONS, pooled=POOLED)
    if self.pooled == 'sizes':
      check.divides(f'{key}.pooled=sizes: 3', 3, self.width, f'{key}.width')
    if self.positions == 'rope' and self.width // self.heads % 4:
      raise ValueError(f'{key}.width / {key}.heads is {self.width // self.heads}; '
                       'it must be a multiple of 4 for positions=rope.')

  def condition(self, t, pooled):
    """What modulates the blocks: f32[b], [b e] -> [b width]."""
    def mlp(name, y, width=self.width):
      return layers.MLP(width, width, 'silu', dtype=self.dtype, name=name)(y)
    c = mlp('time', layers.sinusoids(layers.TIMES[self.time](t), FEATURES))
    if not pooled.shape[-1]:
      return c
    if self.pooled == 'table':
      return c + nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='pooled',
                          kernel_init=nn.initializers.normal(0.02))(pooled)
    if self.pooled == 'mlp':
      return c + mlp('pooled', pooled)
    waves = layers.sinusoids(pooled, FEATURES)  # [b 3 FEATURES]
    third = self.width // 3
    return c + jnp.concatenate([
        mlp('size', waves[:, :2], third).reshape(len(c), -1),
        mlp('ratio', waves[:, 2], third)], -1)

  def parts(self, c):
    """What each block takes of the condition."""
    if not self.shared:
      return c
    parts = layers.Modulation(6, self.width, self.dtype, name='modulation')(c)
    return jnp.stack(parts, 1)  # [b 6 d]

  def last_parts(self, c):
    """Shift and scale before the last layer."""
    if not self.shared:
      return layers.Modulation(2, self.width, self.dtype, name='modulation')(c)
    table = self.param('table', nn.initializers.normal(self.width**-0.5),
                       (2, self.width))
    return c + table[0].astype(self.dtype), c + table[1].astype(self.dtype)
