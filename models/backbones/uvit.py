"""U-ViT: a transformer for which time, condition and patches are all tokens."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, layers
from models.backbones import backbone


class Block(nn.Module):
  """A pre-norm transformer block (arXiv:2209.12152 fig. 1), with a way for a skip."""
  heads: int
  dtype: Any

  @nn.compact
  def __call__(self, x, mask, skip=None):
    """x, skip: [b n d]. mask: bool[b n]. Returns [b n d]."""
    d = x.shape[-1]
    if skip is not None:
      x = nn.Dense(d, dtype=self.dtype, name='skip')(jnp.concatenate([x, skip], -1))
    h = layers.Norm(eps=1e-5, name='norm_1')(x)
    x = x + attention.Attention(self.heads, dtype=self.dtype, name='self')(h, mask=mask)
    h = layers.Norm(eps=1e-5, name='norm_2')(x)
    return x + layers.MLP(4 * d, act='gelu', dtype=self.dtype, name='mlp')(h)


class UViT(backbone.Transformer):
  """Predicts the diffusion target of a noised picture (arXiv:2209.12152).

  Attributes:
    width, heads: of the transformer.
    depth: blocks, but for the one in the middle: half of them hand a skip to the rest.
    patch: side of a patch, in pixels.
    table: the context is a class, of which each has a row, without a bias.
    conv: a last convolution over the picture.
  """
  channels: int = 4
  width: int = 512
  depth: int = 12
  heads: int = 8
  patch: int = 2
  table: bool = False
  conv: bool = True
  reads, any_size = frozenset({'text', 'mask'}), False
  num_taps = property(lambda self: self.depth + 1)  # with the one in the middle

  def run(self, x, scalars, context, taps):
    x, h, w = self.patches(x)
    b, n, _ = x.shape
    time = self.embed(scalars, lambda t: layers.sinusoids(t, self.width), lambda c: c)
    tokens, mask = [time[:, None].astype(self.dtype), x], context.mask
    if context.text is not None:
      tokens.append(nn.Dense(self.width, use_bias=not self.table, dtype=self.dtype,
                             name='text')(context.text))
    x = jnp.concatenate(tokens, 1)  # [b 1+n+l d], padding at the end
    x = x + self.param('positions', nn.initializers.normal(0.02),
                       x.shape[1:]).astype(self.dtype)
    if mask is not None:
      mask = jnp.concatenate([jnp.ones((b, 1 + n), bool), mask], 1)
    x, tapped = self.blocks(x, mask, taps)
    x = layers.Norm(eps=1e-5, name='norm_out')(x)[:, 1:1 + n]
    x = self.pictures(x, h, w, nn.linear.default_kernel_init)
    if self.conv:
      x = nn.Conv(self.channels, (3, 3), dtype=jnp.float32, name='conv')(x)
    return x, {i: y[:, 1:1 + n] for i, y in tapped.items()}

  def blocks(self, x, mask, taps):
    """All blocks over all tokens [b 1+n+l d]: (x, {index: x after that block})."""
    half = self.depth // 2
    def run(name, x, taps, **how):
      block = Block(self.heads, self.dtype, name=name)
      return layers.scan_blocks(block, half, self.remat, x, mask, taps=taps, **how)
    x, tapped, skips = run('in_blocks', x, [i for i in taps if i < half], collect=True)
    middle = Block(self.heads, self.dtype, name='middle')
    x = layers.remat(middle, self.remat, x, mask)
    if half in taps:
      tapped[half] = x
    x, last, _ = run('out_blocks', x, [i - half - 1 for i in taps if i > half],
                     skips=skips[::-1])
    return x, tapped | {half + 1 + i: y for i, y in last.items()}

  def check(self, size):
    super().check(size)
    checks.require(self.depth % 2 == 0, 'config.model.depth', self.depth,
                   'it must be even.')
