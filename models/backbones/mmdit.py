"""MMDiT, in which text and picture are two streams that attend together: SD3, SD3.5."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, layers
from models.backbones import backbone, dit


class JointAttention(nn.Module):
  """Attention over the tokens of picture and text, each with projections of its own.

  Attributes:
    last: nothing comes after that reads the text's stream.
  """
  heads: int
  qk_norm: bool
  last: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, text, mask):
    """x: [b n d]. text: [b l d]. mask: bool[b l]. Returns both, text None if last."""
    n = x.shape[1]
    streams = [attention.project(y, y, self.heads, qk_norm=self.qk_norm, bias=True,
                                 dtype=self.dtype, prefix=prefix)
               for y, prefix in ((x, ''), (text, 'text_'))]
    q, k, v = (jnp.concatenate(pair, 1) for pair in zip(*streams))  # padding at the end
    if mask is not None:
      mask = jnp.concatenate([jnp.ones((len(x), n), bool), mask], 1)
    y = attention.attend(q, k, v, mask)
    def merge(name, y):
      return attention.merge(y, zero=False, dtype=self.dtype, name=name)
    return merge('out', y[:, :n]), None if self.last else merge('text_out', y[:, n:])


class Block(nn.Module):
  """One block of both streams (arXiv:2403.03206 fig. 2b).

  Attributes:
    dual: the picture's stream attends to itself, too, beside the joint attention.
    last: the text's stream ends here.
  """
  heads: int
  qk_norm: bool
  dual: bool
  last: bool
  dtype: Any

  @nn.compact
  def __call__(self, streams, c, mask):
    """streams: (x [b n d], text [b l d]). c: [b d]. mask: bool[b l]. Returns both."""
    x, text = streams
    d = x.shape[-1]
    def modulations(name, n):
      return layers.Modulation(n, d, self.dtype, name=name)(c)
    def mlp(name, y):
      return layers.MLP(4 * d, dtype=self.dtype, name=name)(y)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2, *more = modulations(
        'modulation', 9 if self.dual else 6)
    if self.last:
      text_scale_1, text_shift_1 = modulations('text_modulation', 2)
    else:
      (text_shift_1, text_scale_1, text_gate_1, text_shift_2, text_scale_2,
       text_gate_2) = modulations('text_modulation', 6)
    joint = JointAttention(self.heads, self.qk_norm, self.last, self.dtype,
                           name='attention')
    y, text_y = joint(dit.modulated(x, shift_1, scale_1),
                      dit.modulated(text, text_shift_1, text_scale_1), mask)
    before, x = x, x + gate_1[:, None] * y
    if self.dual:
      shift, scale, gate = more
      alone = attention.Attention(self.heads, self.qk_norm, bias=True,
                                  dtype=self.dtype, name='self')
      x = x + gate[:, None] * alone(dit.modulated(before, shift, scale))
    x = x + gate_2[:, None] * mlp('mlp', dit.modulated(x, shift_2, scale_2))
    if not self.last:
      text = text + text_gate_1[:, None] * text_y
      text = text + text_gate_2[:, None] * mlp(
          'text_mlp', dit.modulated(text, text_shift_2, text_scale_2))
    return x, text


class MMDiT(backbone.Backbone):
  """Predicts the diffusion target of a noised picture (arXiv:2403.03206).

  Attributes:
    channels: of the picture and of the prediction.
    width, depth, heads: of the transformer.
    patch: side of a patch, in pixels.
    pos_embed_max_size: patches a side of the largest picture: the sinusoids of places
      are those of its middle, `pos_scale` apart.
    dual: how many blocks, from the first, have attention within the picture as well
      (SD3.5-medium).
    qk_norm: normalise queries and keys.
  """
  channels: int = 16
  width: int = 1536
  depth: int = 24
  heads: int = 24
  patch: int = 2
  pos_embed_max_size: int = 192
  pos_scale: float = 1 / 3
  dual: int = 0
  qk_norm: bool = False
  reads, needs = frozenset({'text', 'mask', 'pooled'}), frozenset({'text', 'pooled'})
  num_taps = property(lambda self: self.depth)

  @nn.compact
  def __call__(self, x, scalars, context, taps=()):
    """As in Backbone; h and w are multiples of patch."""
    self.check_call(scalars, context, taps)
    x, h, w = layers.patches(x, self.patch, self.width, self.dtype)
    start = [(self.pos_embed_max_size - side) // 2 * self.pos_scale for side in (h, w)]
    x = x + layers.positions(h, w, self.width, start,
                             self.pos_scale).astype(self.dtype)
    def mlp(name, y):
      return layers.MLP(self.width, self.width, 'silu', dtype=self.dtype, name=name)(y)
    c = layers.embed_scalars(
        scalars, self.scalars, self.time_unit,
        lambda t: layers.sinusoids(t, dit.FEATURES), lambda waves: mlp('time', waves),
        self.dtype)
    c = c + mlp('pooled', context.pooled)
    text = nn.Dense(self.width, dtype=self.dtype, name='text')(context.text)

    def block(name, dual=False, last=False):
      return Block(self.heads, self.qk_norm, dual, last, self.dtype, name=name)
    end = self.depth - 1
    streams, tapped = layers.repeat(
        [(block('dual_blocks', dual=True), self.dual),
         (block('blocks'), end - self.dual)],
        self.remat, (x, text), c, context.mask, taps=[i for i in taps if i < end])
    x, _ = layers.remat(block('last', last=True), self.remat, streams, c, context.mask)
    tapped = {i: y for i, (y, _) in tapped.items()} | ({end: x} if end in taps else {})
    scale, shift = layers.Modulation(2, self.width, self.dtype, name='modulation')(c)
    x = nn.Dense(self.channels * self.patch**2, dtype=jnp.float32, name='out',
                 kernel_init=nn.initializers.zeros)(dit.modulated(x, shift, scale))
    x = layers.depth_to_space(x.reshape(len(x), h, w, -1), self.patch)
    return (x, tapped) if taps else x

  def check(self, size):
    """Raises ValueError for fields that do not go together, at (h, w)."""
    key = 'config.model'
    checks.transformer(self, key, size)
    checks.positive(self, key, 'pos_embed_max_size', 'pos_scale')
    if not 0 <= self.dual < self.depth:
      raise ValueError(f'{key}.dual is {self.dual}; it must be from 0 to {key}.depth - '
                       f'1, {self.depth - 1}.')
    if (side := max(size) // self.patch) > self.pos_embed_max_size:
      raise ValueError(f'{key}.pos_embed_max_size is {self.pos_embed_max_size}; '
                       f'config.data.size gives {side} patches a side.')
