"""Diffusion transformers: DiT, SiT and PixArt-alpha."""
import functools
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, layers
from models.backbones import backbone

FEATURES = 256  # sinusoids of time, and of each size


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
      modulations = (c + scale_shift_table.astype(self.dtype)).swapaxes(0, 1)
    else:
      modulations = layers.Modulation(6, d, self.dtype, name='modulation')(c)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulations
    attend = functools.partial(attention.Attention, self.heads, self.qk_norm, bias=True,
                               dtype=self.dtype)
    h = attend(name='self')(modulated(x, shift_1, scale_1), rotate=rotate)
    x = x + gate_1[:, None] * h
    if self.cross_attention:
      x = x + attend(name='cross', zero=True)(x, text, mask)
    h = layers.MLP(4 * d, dtype=self.dtype, name='mlp')(modulated(x, shift_2, scale_2))
    return x + gate_2[:, None] * h


class DiT(backbone.Transformer):
  """Predicts the diffusion target of a noised picture, patch by patch.

  Attributes:
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
  positive = (*backbone.Transformer.positive, 'pos_scale')
  choices = backbone.Backbone.choices | dict(
      positions=('fixed', 'learned', 'rope'), pooled=('table', 'mlp'))
  any_size = property(lambda self: self.positions != 'learned')

  needs = property(lambda self: frozenset(
      ['text'] * self.cross_attention + ['sizes'] * self.size_embedding))
  reads = property(lambda self: self.needs | frozenset(
      ['pooled'] + ['mask'] * self.cross_attention))

  def run(self, x, scalars, context, taps):
    x, h, w = self.patches(x)
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
    return self.pictures(modulated(x, *self.last_modulations(c)), h, w), tapped

  def check(self, size):
    super().check(size)
    if self.size_embedding:
      checks.divides('config.model.size_embedding: 3', 3, self.width,
                     'config.model.width')
    head = self.width // self.heads
    checks.require(self.positions != 'rope' or head % 4 == 0,
                   'config.model.width / config.model.heads', head,
                   'it must be a multiple of 4 for positions=rope.')

  def condition(self, scalars, context):
    """What modulates the blocks: [b width]."""
    c = self.embed(scalars, lambda t: layers.sinusoids(t, FEATURES),
                   self.silu_mlp('time', self.width))
    if context.pooled is not None:
      pooled = self.silu_mlp('pooled', self.width) if self.pooled == 'mlp' else (
          nn.Dense(self.width, use_bias=False, dtype=self.dtype, name='pooled',
                   kernel_init=nn.initializers.normal(0.02)))
      c = c + pooled(context.pooled)
    if self.size_embedding:
      waves = layers.sinusoids(self.size_numbers(context.sizes), FEATURES)  # [b 3 f]
      sides = self.silu_mlp('size', self.width // 3)(waves[:, :2]).reshape(len(c), -1)
      ratio = self.silu_mlp('ratio', self.width // 3)(waves[:, 2])
      c = c + jnp.concatenate([sides, ratio], -1)
    return c

  def size_numbers(self, sizes):
    """Height, width and height / width of the target: f32[b 6] -> f32[b 3]."""
    height, width = sizes[:, 4], sizes[:, 5]
    return jnp.stack([height, width, height / width], -1)

  def modulations(self, c):
    """What blocks take of the condition: [b width]; [b 6 width] if adaln_single."""
    if not self.adaln_single:
      return c
    parts = layers.Modulation(6, self.width, self.dtype, name='modulation')(c)
    return jnp.stack(parts, 1)

  def last_modulations(self, c):
    """Shift and scale before the last layer."""
    if not self.adaln_single:
      return layers.Modulation(2, self.width, self.dtype, name='modulation')(c)
    scale_shift_table = self.param('table', nn.initializers.normal(self.width**-0.5),
                                   (2, self.width)).astype(self.dtype)
    return c + scale_shift_table[0], c + scale_shift_table[1]
