"""MMDiT, in which text and picture are two streams that attend together: SD3, SD3.5."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, check, dit, layers


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
    def parts(name, n):
      return layers.Modulation(n, d, self.dtype, name=name)(c)
    def mlp(name, y):
      return layers.MLP(4 * d, dtype=self.dtype, name=name)(y)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2, *more = parts(
        'modulation', 9 if self.dual else 6)
    if self.last:
      text_scale_1, text_shift_1 = parts('text_modulation', 2)
    else:
      (text_shift_1, text_scale_1, text_gate_1, text_shift_2, text_scale_2,
       text_gate_2) = parts('text_modulation', 6)
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


class MMDiT(nn.Module):
  """Predicts the diffusion target of a noised picture (arXiv:2403.03206).

  Attributes:
    channels: of the picture and of the prediction.
    width, depth, heads: of the transformer.
    patch: side of a patch, in pixels.
    grid: patches a side of the largest picture: the sinusoids of places are those of
      its middle, `place` apart.
    dual: how many blocks, from the first, have attention within the picture as well
      (SD3.5-medium).
    qk_norm: normalise queries and keys.
    time: of layers.TIMES, what the network is told of t.
    remat: of layers.REMAT, what a block keeps for its gradient.
  """
  channels: int = 16
  width: int = 1536
  depth: int = 24
  heads: int = 24
  patch: int = 2
  grid: int = 192
  place: float = 1 / 3
  dual: int = 0
  qk_norm: bool = False
  time: str = 'steps'
  remat: str = 'all'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, text, mask, pooled):
    """x: [b h w channels]. t: f32[b]. text: [b l e]. mask: bool[b l]. pooled: [b e].

    h and w are multiples of patch. Returns f32[b h w channels].
    """
    x, h, w = layers.patches(x, self.patch, self.width, self.dtype)
    start = [(self.grid - side) // 2 * self.place for side in (h, w)]
    x = x + layers.positions(h, w, self.width, start, self.place).astype(self.dtype)
    def mlp(name, y):
      return layers.MLP(self.width, self.width, 'silu', dtype=self.dtype, name=name)(y)
    c = mlp('time', layers.sinusoids(layers.TIMES[self.time](t), dit.FEATURES))
    c = c + mlp('pooled', pooled)
    text = nn.Dense(self.width, dtype=self.dtype, name='text')(text)

    streams = x, text
    for name, depth in (('dual_blocks', self.dual),
                        ('blocks', self.depth - 1 - self.dual)):
      if depth:
        block = Block(self.heads, self.qk_norm, name == 'dual_blocks', False,
                      self.dtype, name=name)
        streams = layers.repeat(block, depth, self.remat, streams, c, mask)
    last = Block(self.heads, self.qk_norm, False, True, self.dtype, name='last')
    x, _ = layers.remat(last, self.remat, streams, c, mask)
    scale, shift = layers.Modulation(2, self.width, self.dtype, name='modulation')(c)
    x = nn.Dense(self.channels * self.patch**2, dtype=jnp.float32, name='out',
                 kernel_init=nn.initializers.zeros)(dit.modulated(x, shift, scale))
    return layers.depth_to_space(x.reshape(len(x), h, w, -1), self.patch)

  def check(self, size: int):
    """Raises ValueError for fields that do not go together, at a size in pixels."""
    key = 'config.model'
    check.transformer(self, key, size)
    check.positive(self, key, 'grid', 'place')
    if not 0 <= self.dual < self.depth:
      raise ValueError(f'{key}.dual is {self.dual}; it must be from 0 to {key}.depth - '
                       f'1, {self.depth - 1}.')
    if size // self.patch > self.grid:
      raise ValueError(f'{key}.grid is {self.grid}; pictures of {size} have '
                       f'{size // self.patch} patches a side.')
