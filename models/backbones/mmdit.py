"""MMDiT, in which text and picture are two streams that attend together: SD3, SD3.5."""
import functools
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, layers
from models.backbones import backbone, dit


class JointAttention(nn.Module):
  """Attention over the tokens of picture and text, each with projections of its own.
  last: nothing comes after that reads the text's stream."""
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
    merge = functools.partial(attention.merge, zero=False, dtype=self.dtype)
    return merge(y[:, :n], name='out'), (
        None if self.last else merge(y[:, n:], name='text_out'))


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
    d, modulated = x.shape[-1], dit.modulated
    def modulations(name, n):
      return layers.Modulation(n, d, self.dtype, name=name)(c)
    def mlp(name, x, shift, scale, gate):
      layer = layers.MLP(4 * d, dtype=self.dtype, name=name)
      return x + gate[:, None] * layer(modulated(x, shift, scale))
    shift, scale, gate, *more = modulations('modulation', 9 if self.dual else 6)
    if self.last:
      text_scale, text_shift = modulations('text_modulation', 2)
    else:
      text_shift, text_scale, text_gate, *text_more = modulations('text_modulation', 6)
    y, text_y = JointAttention(
        self.heads, self.qk_norm, self.last, self.dtype, name='attention')(
            modulated(x, shift, scale), modulated(text, text_shift, text_scale), mask)
    before, x = x, x + gate[:, None] * y
    if self.dual:
      shift, scale, gate = more[3:]
      alone = attention.Attention(self.heads, self.qk_norm, bias=True,
                                  dtype=self.dtype, name='self')
      x = x + gate[:, None] * alone(modulated(before, shift, scale))
    x = mlp('mlp', x, *more[:3])
    if not self.last:
      text = mlp('text_mlp', text + text_gate[:, None] * text_y, *text_more)
    return x, text


class MMDiT(backbone.Transformer):
  """Predicts the diffusion target of a noised picture (arXiv:2403.03206).

  Attributes:
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
  positive = (*backbone.Transformer.positive, 'pos_embed_max_size', 'pos_scale')

  def run(self, x, scalars, context, taps):
    x, h, w = self.patches(x)
    start = [(self.pos_embed_max_size - side) // 2 * self.pos_scale for side in (h, w)]
    x = x + layers.positions(h, w, self.width, start, self.pos_scale).astype(self.dtype)
    c = self.embed(scalars, lambda t: layers.sinusoids(t, dit.FEATURES),
                   self.silu_mlp('time', self.width))
    c = c + self.silu_mlp('pooled', self.width)(context.pooled)
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
    return self.pictures(dit.modulated(x, shift, scale), h, w), tapped

  def check(self, size):
    super().check(size)
    checks.require(0 <= self.dual < self.depth, 'config.model.dual', self.dual,
                   f'it must be from 0 to config.model.depth - 1, {self.depth - 1}.')
    side, most = max(size) // self.patch, self.pos_embed_max_size
    checks.require(side <= most, 'config.model.pos_embed_max_size', most,
                   f'config.data.size gives {side} patches a side.')
