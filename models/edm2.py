"""EDM2's U-Net, whose activations and weights keep their magnitude: arXiv:2312.02696.

No normalisation, no biases: every operation hands on what has unit variance.
"""
import math
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import attention, check, layers, unet

EPS = 1e-4
CLIP = 256.0  # activations at most, after each block


def normalized(x, axis):
  """x with a root mean square of 1 over `axis`, in float32: eq. 30 and 66."""
  x = x.astype(jnp.float32)
  size = math.prod(x.shape[i] for i in np.atleast_1d(axis))
  norm = jnp.sqrt(jnp.square(x).sum(axis, keepdims=True) + 1e-30)
  return x / (EPS + norm / math.sqrt(size))


def silu(x):
  """eq. 81."""
  return nn.silu(x) / 0.596


def mix(a, b, t: float):
  """A sum of share 1 - t of a and t of b: eq. 88."""
  return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


def joined(a, b):
  """Channels of a and b beside each other, each side weighing alike: eq. 103."""
  n, m = a.shape[-1], b.shape[-1]
  scale = math.sqrt((n + m) / 2)
  return jnp.concatenate([scale / math.sqrt(n) * a, scale / math.sqrt(m) * b], -1)


def fourier(value, width: int):
  """Random cosines of unit variance, fixed: eq. 75. f32[b] -> f32[b width]."""
  random = np.random.RandomState(0)
  rates, phases = random.normal(size=width), random.uniform(size=width)
  angles = 2 * np.pi * (value[:, None] * np.float32(rates) + np.float32(phases))
  return math.sqrt(2) * jnp.cos(angles)


class Layer(nn.Module):
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
    kernel = normalized(kernel, tuple(range(len(inputs))))
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
      return Layer(out, dtype=self.dtype, name=name, **kwargs)
    def skip(x):
      return x if x.shape[-1] == self.width else layer('skip', self.width, size=1)(x)
    x = layers.resampled(x, self.way)
    if self.encodes:
      x = normalized(skip(x), -1).astype(self.dtype)
    y = layer('conv_1', self.width, size=3)(silu(x))
    scale = layer('modulation', self.width)(c, self.param(
        'gain', nn.initializers.zeros, ()))
    y = silu(y * (1 + scale[:, None, None]))
    y = nn.Dropout(self.dropout, deterministic=not self.has_rng('dropout'))(y)
    y = layer('conv_2', self.width, size=3)(y)
    x = mix(x if self.encodes else skip(x), y, 0.3)
    if self.heads:
      tokens = x.reshape(len(x), -1, self.width)  # [b n d]
      head = self.width // self.heads
      heads = (layer(name, self.heads, head)(tokens) for name in 'qkv')
      y = attention.attend(*(normalized(y, -1).astype(self.dtype) for y in heads))
      x = mix(x, layer('out', self.width, axes=2)(y).reshape(x.shape), 0.3)
    return jnp.clip(x, -CLIP, CLIP)


class EDM2(nn.Module):
  """Predicts the diffusion target of a noised picture.

  Attributes:
    channels: of the picture and of the prediction.
    width, mults, blocks, attention: as in UNet, the middle having attention too.
    head_width: channels of an attention head.
    time: of layers.TIMES, what the network is told of t.
    dropout: share of activations, where the caller gives its rng.
    remat: of layers.REMAT, what a block keeps for its gradient.
  """
  channels: int = 4
  width: int = 128
  mults: tuple[int, ...] = (1, 2, 3, 4)
  blocks: int = 3
  attention: tuple[int, ...] = (0, 0, 1, 1)
  head_width: int = 64
  time: str = 'edm'
  dropout: float = 0.0
  remat: str = 'all'
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, text, mask, pooled):
    """x: [b h w channels]. t: f32[b]. text, mask: unseen. pooled: [b e], of a class.

    h and w are multiples of 2 ** (levels - 1). Returns f32[b h w channels].
    """
    wide = self.width * max(self.mults)
    def layer(name, width, **kwargs):
      return Layer((width,), dtype=self.dtype, name=name, **kwargs)
    noise = fourier(layers.TIMES[self.time](t), self.width * self.mults[0])
    c = layer('time', wide)(noise)
    if pooled.shape[-1]:
      label = layer('pooled', wide)(pooled * math.sqrt(pooled.shape[-1]))
      c = mix(c, label, 0.5)
    c = silu(c)

    def run(name, x, width, encodes, attends=False, way='same'):
      block = Block(width, encodes, width // self.head_width if attends else 0,
                    self.dropout, self.dtype, way, name=name)
      return layers.remat(block, self.remat, x, c)
    def block(name, x, level):
      return run(name, x, self.width * self.mults[level], name.startswith('down'),
                 self.attention[level])
    def middle(x):
      x = run('middle_0', x, x.shape[-1], False, True)
      return run('middle_1', x, x.shape[-1], False)
    x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)  # in place of biases
    x = layer('in', self.width * self.mults[0], size=3)(x)
    x = unet.hourglass(
        x, len(self.mults), self.blocks, block=block, middle=middle, join=joined,
        down=lambda x, i: run(f'down_{i}', x, x.shape[-1], True, way='down'),
        up=lambda x, i: run(f'up_{i}', x, x.shape[-1], False, way='up'))
    gain = self.param('gain', nn.initializers.zeros, ())
    return Layer((self.channels,), 3, name='out')(x, gain)

  def check(self, size: int):
    """Raises ValueError for fields that do not go together, at a size in pixels."""
    key = 'config.model'
    check.positive(self, key, 'width', 'mults', 'blocks', 'head_width')
    check.one_of(self, key, time=layers.TIMES, remat=layers.REMAT)
    check.levels(self, key, 'head_width')
    check.multiple(size, 2 ** (len(self.mults) - 1), '2 for each level but the first')
