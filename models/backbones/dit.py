"""Diffusion transformers: DiT, SiT and PixArt-alpha."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, layers
from models.backbones import backbone

FEATURES = 256  # sinusoids of time, and of each size
POSITIONS = ('fixed', 'learned', 'rope')
POOLED = ('table', 'mlp')


def modulated(x, shift, scale):
  """x: [b n d]. shift, scale: [b d]. The normalised x, moved by a condition."""
  x = layers.Norm(affine=False)(x)
  return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
  """Attention and an MLP, gated by the condition (arXiv:2212.09748 fig. 3).

  Attributes:
    adaln_single: the condition comes as the six modulations that a layer for all blocks
      made; a table of this block is added (arXiv:2310.00426 section 2.3).
    cross_attention: attend to the text, ungated, between the two.
  """
  heads: int
  qk_norm: bool
  adaln_single: bool
  cross_attention: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, c, text, mask, rotate):
    """x: [b n d]. c: [b d]; [b 6 d] if adaln_single. text: [b l e]. Returns like x."""
    d = x.shape[-1]
    if self.adaln_single:
      scale_shift_table = self.param('table', nn.initializers.normal(d**-0.5), (6, d))
      c = c + scale_shift_table.astype(self.dtype)
      modulations = [part[:, 0] for part in jnp.split(c, 6, 1)]
    else:
      modulations = layers.Modulation(6, d, self.dtype, name='modulation')(c)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulations
    def attend(name, x, *args, **kwargs):
      return attention.Attention(self.heads, self.qk_norm, bias=True, dtype=self.dtype,
                                 name=name, **kwargs)(x, *args)
    h = attend('self', modulated(x, shift_1, scale_1), None, None, rotate)
    x = x + gate_1[:, None] * h
    if self.cross_attention:
      x = x + attend('cross', x, text, mask, zero=True)
    h = layers.MLP(4 * d, dtype=self.dtype, name='mlp')(modulated(x, shift_2, scale_2))
    return x + gate_2[:, None] * h


class DiT(backbone.Backbone):
  """Predicts the diffusion target of a noised picture, patch by patch.

  Attributes:
    channels: of the picture.
    out_channels: of the prediction, more than `channels` where a variance is learned; 0
      for as many.
    width, depth, heads: of the transformer.
    patch: side of a patch, in pixels.
    positions: 'fixed', sinusoids of row and column, `pos_scale` apart; 'learned';
      'rope', rotations of queries and keys.
    qk_norm: normalise queries and keys.
    adaln_single: one layer turns the condition into shifts, scales and gates for all
      blocks, in place of one in each (PixArt-alpha's adaLN-single).
    cross_attention: attend to the text, in each block.
    pooled: how the summary of the condition joins the embedding of time. 'table': a row
      for each entry, as of classes; 'mlp'.
    size_embedding: the network is told height, width and height / width of the target,
      as PixArt-alpha at 1024 pixels is.
  """
  channels: int = 4
  out_channels: int = 0
  width: int = 384
  depth: int = 12
  heads: int = 6
  patch: int = 2
  positions: str = 'fixed'
  pos_scale: float = 1.0
  qk_norm: bool = False
  adaln_single: bool = False
  cross_attention: bool = False
  pooled: str = 'table'
  size_embedding: bool = False
  num_taps = property(lambda self: self.depth)

  @property
  def needs(self):
    """Text and sizes where it attends to one and is told the other."""
    fields = {'text': self.cross_attention, 'sizes': self.size_embedding}
    return frozenset(name for name, told in fields.items() if told)

  @property
  def reads(self):
    """What it needs, what belongs to a text, and a summary if there is one."""
    return self.needs | {'pooled'} | ({'mask'} if self.cross_attention else set())

  @property
  def any_size(self) -> bool:
    """Whether no table has a row for each place."""
    return self.positions != 'learned'

  @nn.compact
  def __call__(self, x, scalars, context, taps=()):
    """As in Backbone; h and w are multiples of patch."""
    self.check_call(scalars, context, taps)
    x, h, w = layers.patches(x, self.patch, self.width, self.dtype)
    rotate = lambda y: y
    if self.positions == 'fixed':
      x = x + layers.positions(h, w, self.width, step=self.pos_scale).astype(self.dtype)
    elif self.positions == 'learned':
      x = x + self.param('positions', nn.initializers.normal(0.02),
                         (h * w, self.width)).astype(self.dtype)
    else:
      rotate = layers.rotary(h, w, self.width // self.heads)
    c, text = self.condition(scalars, context), context.text
    if self.cross_attention:
      text = layers.MLP(self.width, self.width, dtype=self.dtype, name='text')(text)
    block = Block(self.heads, self.qk_norm, self.adaln_single, self.cross_attention,
                  self.dtype, name='blocks')
    x, tapped = layers.repeat([(block, self.depth)], self.remat, x, self.modulations(c),
                              text, context.mask, rotate, taps=taps)
    x = modulated(x, *self.last_modulations(c))
    out = self.out_channels or self.channels
    x = nn.Dense(out * self.patch**2, dtype=jnp.float32, name='out',
                 kernel_init=nn.initializers.zeros)(x)
    x = layers.depth_to_space(x.reshape(len(x), h, w, -1), self.patch)
    return (x, tapped) if taps else x

  def check(self, size):
    """Raises ValueError for fields that do not go together, at (h, w)."""
    key = 'config.model'
    checks.transformer(self, key, size)
    checks.positive(self, key, 'pos_scale')
    checks.one_of(self, key, positions=POSITIONS, pooled=POOLED)
    if self.size_embedding:
      checks.divides(f'{key}.size_embedding: 3', 3, self.width, f'{key}.width')
    if self.positions == 'rope' and self.width // self.heads % 4:
      raise ValueError(f'{key}.width / {key}.heads is {self.width // self.heads}; '
                       'it must be a multiple of 4 for positions=rope.')

  def condition(self, scalars, context):
    """What modulates the blocks: [b width]."""
    def mlp(name, y, width=self.width):
      return layers.MLP(width, width, 'silu', dtype=self.dtype, name=name)(y)
    c = layers.embed_scalars(
        scalars, self.scalars, self.time_unit, lambda t: layers.sinusoids(t, FEATURES),
        lambda waves: mlp('time', waves), self.dtype)
    if context.pooled is not None and self.pooled == 'table':
      c = c + nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='pooled',
                       kernel_init=nn.initializers.normal(0.02))(context.pooled)
    elif context.pooled is not None:
      c = c + mlp('pooled', context.pooled)
    if self.size_embedding:
      waves = layers.sinusoids(self.size_numbers(context.sizes), FEATURES)  # [b 3 f]
      third = self.width // 3
      c = c + jnp.concatenate([
          mlp('size', waves[:, :2], third).reshape(len(c), -1),
          mlp('ratio', waves[:, 2], third)], -1)
    return c

  def size_numbers(self, sizes):
    """Height, width and height / width of the target: f32[b 6] -> f32[b 3]."""
    height, width = sizes[:, 4], sizes[:, 5]
    return jnp.stack([height, width, height / width], -1)

  def modulations(self, c):
    """What each block takes of the condition."""
    if not self.adaln_single:
      return c
    parts = layers.Modulation(6, self.width, self.dtype, name='modulation')(c)
    return jnp.stack(parts, 1)  # [b 6 d]

  def last_modulations(self, c):
    """Shift and scale before the last layer."""
    if not self.adaln_single:
      return layers.Modulation(2, self.width, self.dtype, name='modulation')(c)
    scale_shift_table = self.param('table', nn.initializers.normal(self.width**-0.5),
                                   (2, self.width)).astype(self.dtype)
    return c + scale_shift_table[0], c + scale_shift_table[1]
