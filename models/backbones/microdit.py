"""MicroDiT: a transformer whose blocks grow wider, half of them with experts."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from models import attention, checks, layers
from models.backbones import backbone, experts

FEATURES = 512  # sinusoids of time


def norm(x, name: str, affine=True):
  """x: [b ... d]. Layer normalisation with a scale, but no bias."""
  return nn.LayerNorm(epsilon=1e-6, use_bias=False, use_scale=affine,
                      dtype=jnp.float32, name=name)(x).astype(x.dtype)


def moved(x, shift, scale):
  """x: [b n d]. shift, scale: [b d]."""
  return x * (1 + scale[:, None]) + shift[:, None]


def modulation(c, parts: int, width: int, dtype):
  """c: [b d]. `parts` arrays [b width], zero at first; made in the caller's module."""
  out = nn.Dense(parts * width, dtype=dtype, kernel_init=nn.initializers.zeros,
                 name='modulation')(nn.gelu(c))
  return jnp.split(out, parts, -1)


def rounded(width: int, multiple: int) -> int:
  return -(-width // multiple) * multiple


def gated_mlp(hidden: int, multiple: int, std: float, dtype):
  """Of two thirds of the hidden width: a third layer gates the first."""
  return layers.MLP(rounded(2 * hidden // 3, multiple), act='silu', gated=True,
                    bias=False, stds=(experts.STD, std), dtype=dtype, name='mlp')


class Attention(nn.Module):
  """Attention in a width of its own; queries and keys are normalised, all heads as one.
  std: of the last layer's first weights."""
  heads: int
  head_width: int
  std: float
  dtype: Any

  @nn.compact
  def __call__(self, x, context):
    """x: [b n d]. context: [b m e]. Returns [b n d]."""
    q, k, v = (nn.DenseGeneral(
        (self.heads, self.head_width), use_bias=False, dtype=self.dtype, name=name,
        kernel_init=nn.initializers.normal(experts.STD))(y)
               for name, y in (('q', x), ('k', context), ('v', context)))
    q, k = (norm(y.reshape(*y.shape[:2], -1), f'{name}_norm', False).reshape(y.shape)
            for name, y in (('q', q), ('k', k)))
    y = attention.attend(q, k, v)
    return nn.DenseGeneral(x.shape[-1], axis=(-2, -1), use_bias=False, dtype=self.dtype,
                           kernel_init=nn.initializers.normal(self.std), name='out')(y)


class Block(nn.Module):
  """Attention, attention over the text and an MLP, the middle one without a condition.

  Attributes:
    attention, mlp, multiple: as in MicroDiT, for this block.
    experts: 0 for one gated MLP, of two thirds of the hidden width.
    std: of the first weights that end a residual.
  """
  head_width: int
  attention: float
  mlp: float
  multiple: int
  experts: int
  capacity: float
  std: float
  dtype: Any

  @nn.compact
  def __call__(self, x, text, c):
    """x: [b n d]. text: [b l d]. c: [b e]. Returns [b n d]."""
    d = x.shape[-1]
    heads = own = d // self.head_width
    if self.attention != 1:  # pairs of heads
      own = rounded(int(d * self.attention), 2 * self.head_width) // self.head_width
    hidden = int(d * self.mlp)
    if self.experts:
      mlp = experts.Experts(self.experts, self.capacity, rounded(hidden, self.multiple),
                            self.std, self.dtype, name='mlp')
    else:
      mlp = gated_mlp(hidden, self.multiple, self.std, self.dtype)
    def attend(name, heads, *args):
      return Attention(heads, self.head_width, self.std, self.dtype, name=name)(*args)
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = modulation(c, 6, d, self.dtype)
    h = moved(norm(x, 'norm_1'), shift_1, scale_1)
    x = x + gate_1[:, None] * attend('self', own, h, h)
    x = x + attend('cross', heads, norm(x, 'norm_2'), text)
    return x + gate_2[:, None] * mlp(moved(norm(x, 'norm_3'), shift_2, scale_2))


class TextBlock(nn.Module):
  """A block of the text alone; the identity at first."""
  head_width: int
  multiple: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """x: [b l d]. Returns the same."""
    d = x.shape[-1]
    h = norm(x, 'norm_1')
    x = x + Attention(d // self.head_width, self.head_width, 0.0, self.dtype,
                      name='self')(h, h)
    return x + gated_mlp(4 * d, self.multiple, 0.0, self.dtype)(norm(x, 'norm_2'))


class Projection(nn.Module):
  """Dense, activation, normalisation, Dense."""
  width: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """x: [b ... d]. Returns [b ... width]."""
    def dense(name, y):
      return nn.Dense(self.width, dtype=self.dtype, name=name,
                      kernel_init=nn.initializers.normal(experts.STD))(y)
    return dense('down', norm(nn.gelu(dense('up', x)), 'norm'))


class MicroDiT(backbone.Transformer):
  """Predicts the diffusion target of a noised picture (arXiv:2407.15811).

  As in the paper, padding is text like any other, and the text's mean is its summary.
  Training on a part of the patches, the paper's masking after the mixer, is not here.

  Attributes:
    width, depth: of the blocks; every second one but the last has experts.
    heads: in each attention over the text; self-attention has a share of them.
    patch: side of a patch, in pixels.
    pos_scale: how far apart the sinusoids of places are: 1 at 256 pixels, 0.5 at 512.
    attention: self-attention's share of the width, in the first and in the last block.
    mlp: the MLP's multiple of the width, in the first and in the last block; between
      them both are linear in the block.
    multiple: up to a multiple of which hidden widths are rounded.
    experts, capacity: MLPs in a block, and how many a token has on average.
    mixer_width, mixer_depth: of the first blocks, the patch mixer.
  """
  channels: int = 4
  width: int = 1024
  depth: int = 28
  heads: int = 16
  patch: int = 2
  pos_scale: float = 1.0
  attention: tuple[float, float] = (0.5, 1.0)
  mlp: tuple[float, float] = (0.5, 4.0)
  multiple: int = 256
  experts: int = 8
  capacity: float = 2.0
  mixer_width: int = 768
  mixer_depth: int = 6
  time_unit: str = 'edm'
  reads = needs = frozenset({'text'})
  positive = (*backbone.Transformer.positive, 'pos_scale', 'attention', 'mlp',
              'multiple', 'experts', 'capacity', 'mixer_width', 'mixer_depth')

  def run(self, x, scalars, context, taps):
    x, h, w = self.patches(x)
    x = x + layers.positions(h, w, self.width, step=self.pos_scale).astype(self.dtype)
    head_width = self.width // self.heads
    text = Projection(self.width, self.dtype, name='text')(context.text)
    text = TextBlock(head_width, self.multiple, self.dtype, name='text_block')(text)
    c = self.embed(scalars, lambda t: layers.sinusoids(t, FEATURES), layers.MLP(
        self.width, self.width, dtype=self.dtype, name='time'))
    c = c + Projection(self.width, self.dtype, name='pooled')(text.mean(1))

    def fit(name, y, width):
      if y.shape[-1] == width:
        return y
      return nn.Dense(width, use_bias=False, dtype=self.dtype, name=name)(
          norm(y, f'{name}_norm'))
    def run(name, x, text, attention, mlp, expert, residuals):
      std = experts.STD / np.sqrt(2 * residuals)
      block = Block(head_width, attention, mlp, self.multiple, expert * self.experts,
                    self.capacity, std, self.dtype, name=name)
      return layers.remat(block, self.remat, x, text, c)
    x = fit('mixer_in', x, self.mixer_width)
    mixed = fit('mixer_text', text, self.mixer_width)
    for i in range(self.mixer_depth):
      x = run(f'mixer_{i}', x, mixed, 1.0, 4.0, i % 2, self.depth)
    x = fit('mixer_out', x, self.width)
    tapped = {}
    ratios = (np.linspace(*ends, self.depth) for ends in (self.attention, self.mlp))
    for i, (attention_i, mlp_i) in enumerate(zip(*ratios)):
      x = run(f'block_{i}', x, text, attention_i, mlp_i,
              i % 2 and i < self.depth - 1, i + 1)
      if i in taps:
        tapped[i] = x
    shift, scale = modulation(c, 2, self.width, self.dtype)
    return self.pictures(moved(norm(x, 'norm'), shift, scale), h, w), tapped

  def check(self, size):
    super().check(size)
    for name in ('attention', 'mlp'):
      value = getattr(self, name)
      checks.require(len(value) == 2, f'config.model.{name}', value,
                     'it has an entry for the first block and one for the last.')
    checks.divides('config.model.width / config.model.heads', self.width // self.heads,
                   self.mixer_width, 'config.model.mixer_width')
    n, most = size[0] * size[1] // self.patch**2, self.experts
    checks.require(
        self.capacity <= most <= self.capacity * n, 'config.model.capacity',
        self.capacity, f'for {most} experts and {n} patches it must be from '
        f'{most / n:g} to {most}.')
