"""EDM2's U-Net, whose activations and weights keep their magnitude: arXiv:2312.02696.

No normalisation, no biases: every operation hands on what has unit variance.
"""
import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import attention, checks, layers
from models.backbones import backbone, unet_blocks

EPS = 1e-4
CLIP = 256.0  # activations at most, after each block


def normalize(x, axis):
  """x with a root mean square of 1 over `axis`, in float32: eq. 30 and 66."""
  x = x.astype(jnp.float32)
  size = math.prod(x.shape[i] for i in np.atleast_1d(axis))
  norm = jnp.sqrt(jnp.square(x).sum(axis, keepdims=True) + 1e-30)
  return x / (EPS + norm / math.sqrt(size))


def mp_silu(x):
  """eq. 81."""
  return nn.silu(x) / 0.596


def mp_sum(a, b, t: float):
  """A sum of share 1 - t of a and t of b: eq. 88."""
  return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


def mp_cat(a, b):
  """Channels of a and b beside each other, each side weighing alike: eq. 103."""
  n, m = a.shape[-1], b.shape[-1]
  scale = math.sqrt((n + m) / 2)
  return jnp.concatenate([scale / math.sqrt(n) * a, scale / math.sqrt(m) * b], -1)


class MPFourier(nn.Module):
  """Random cosines of unit variance, fixed: eq. 75."""
  width: int

  def __call__(self, value):
    """value: f32[b]. Returns f32[b width]."""
    random = np.random.RandomState(0)
    rates, phases = random.normal(size=self.width), random.uniform(size=self.width)
    angles = 2 * np.pi * (value[:, None] * np.float32(rates) + np.float32(phases))
    return math.sqrt(2) * jnp.cos(angles)


class MPConv(nn.Module):
  """A convolution or product with weights of a fixed magnitude: eq. 47.

  Attributes:
    out: axes of the output's channels.
    size: side of the convolution's kernel; 0 for a product over the last axes of x.
    axes: how many those are.
  """
  out: tuple[int, ...]
  size: int = 0
  axes: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, gain=1.0):
    """x: [b ... inputs]. Returns [b ... out], times the gain."""
    inputs = (self.size,) * 2 * bool(self.size) + x.shape[-self.axes:]
    kernel = self.param('kernel', nn.initializers.normal(1.0), inputs + self.out)
    kernel = normalize(kernel, tuple(range(len(inputs))))
    kernel = (kernel * (gain / math.sqrt(math.prod(inputs)))).astype(self.dtype)
    x = x.astype(self.dtype)
    if not self.size:
      return jnp.tensordot(x, kernel, self.axes)
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))


class Block(nn.Module):
  """A residual block with attention (fig. 21).

  Attributes:
    encodes: on the way down, where what enters is normalised first.
    heads: of attention, 0 for none.
    way: 'down' or 'up' to resample first.
  """
  width: int
  encodes: bool
  heads: int
  dropout: float
  dtype: Any
  way: str = 'same'

  @nn.compact
  def __call__(self, x, c):
    """x: [b h w d]. c: [b e]. Returns [b h' w' width]."""
    def layer(name, *out, **kwargs):
      return MPConv(out, dtype=self.dtype, name=name, **kwargs)
    def skip(x):
      return x if x.shape[-1] == self.width else layer('skip', self.width, size=1)(x)
    x = layers.resample(x, self.way)
    if self.encodes:
      x = normalize(skip(x), -1).astype(self.dtype)
    y = layer('conv_1', self.width, size=3)(mp_silu(x))
    scale = layer('modulation', self.width)(c, self.param(
        'gain', nn.initializers.zeros, ()))
    y = mp_silu(y * (1 + scale[:, None, None]))
    y = nn.Dropout(self.dropout, deterministic=not self.has_rng('dropout'))(y)
    y = layer('conv_2', self.width, size=3)(y)
    x = mp_sum(x if self.encodes else skip(x), y, 0.3)
    if self.heads:
      tokens = x.reshape(len(x), -1, self.width)  # [b n d]
      head = self.width // self.heads
      heads = (layer(name, self.heads, head)(tokens) for name in 'qkv')
      y = attention.attend(*(normalize(y, -1).astype(self.dtype) for y in heads))
      x = mp_sum(x, layer('out', self.width, axes=2)(y).reshape(x.shape), 0.3)
    return jnp.clip(x, -CLIP, CLIP)


class EDM2(backbone.Backbone):
  """Predicts the diffusion target of a noised picture.

  Attributes:
    width, channel_mult, num_res_blocks, attention: as in UNet, the middle having
      attention too.
    head_width: channels of an attention head.
    dropout: share of activations, where the caller gives its rng.
  """
  channels: int = 4
  width: int = 128
  channel_mult: tuple[int, ...] = (1, 2, 3, 4)
  num_res_blocks: int = 3
  attention: tuple[int, ...] = (0, 0, 1, 1)
  head_width: int = 64
  time_unit: str = 'edm'
  dropout: float = 0.0
  reads = frozenset({'pooled'})  # of a class
  shares = ('dropout',)
  positive = ('width', 'channel_mult', 'num_res_blocks', 'head_width')

  def run(self, x, scalars, context, taps):
    def layer(name, width, **kwargs):
      return MPConv((width,), dtype=self.dtype, name=name, **kwargs)
    first = self.width * self.channel_mult[0]
    wide = self.width * max(self.channel_mult)
    c = self.embed(scalars, MPFourier(first), layer('time', wide))
    if (pooled := context.pooled) is not None:
      c = mp_sum(c, layer('pooled', wide)(pooled * math.sqrt(pooled.shape[-1])), 0.5)
    c = mp_silu(c)
    def block(name, x, width, attends, up=False, way='same'):
      block = Block(width, not up, width // self.head_width if attends else 0,
                    self.dropout, self.dtype, way, name=name)
      return layers.remat(block, self.remat, x, c)
    x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)  # in place of biases
    x = layer('in', first, size=3)(x)
    x = unet_blocks.hourglass(self, x, block, mp_cat, mid_attention=1)
    gain = self.param('gain', nn.initializers.zeros, ())
    return MPConv((self.channels,), 3, name='out')(x, gain), {}

  def check(self, size):
    checks.levels(self, 'head_width')
    checks.multiple(size, 2 ** (len(self.channel_mult) - 1),
                    '2 for each level but the first')
