"""Layers that several models share. Parameters and statistics are float32."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp


def time_features(t, width: int):
  """Sinusoids of 1000 t: arXiv:1706.03762 section 3.5, as DDPM uses them.

  t: f32[b] in [0, 1]. Returns f32[b width]: cosines, then sines.
  """
  rates = jnp.exp(-jnp.log(10_000.0) * jnp.arange(width // 2) / (width // 2))
  angles = 1000.0 * t[:, None] * rates
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


class Uncertainty(nn.Module):
  """The log variance u of a loss, a function of log-SNR: arXiv:2312.02696 section C.2.

  One linear layer on fixed random waves of EDM's c_noise, ln(sigma / alpha) / 4; zero
  at first.
  """
  width: int = 128

  @nn.compact
  def __call__(self, log_snr):
    """log_snr: f32[b]. Returns f32[b]."""
    rates, turns = jax.random.normal(jax.random.key(0), (2, self.width))
    waves = jnp.cos(2 * jnp.pi * (-log_snr[:, None] / 8 * rates + turns))
    return nn.Dense(1, kernel_init=nn.initializers.zeros, name='out')(waves)[:, 0]


class Norm(nn.Module):
  """Layer or group normalisation with float32 statistics.

  Attributes:
    groups: 0 normalises each token over its channels; g > 0 each picture over its
      places and each of g groups of channels.
    affine: learn a scale and a bias.
  """
  groups: int = 0
  affine: bool = True

  @nn.compact
  def __call__(self, x):
    """x: [b ... d]. Returns the same, in its own dtype."""
    norm = (nn.GroupNorm(self.groups, use_bias=self.affine, use_scale=self.affine,
                         dtype=jnp.float32, name='norm') if self.groups else
            nn.LayerNorm(use_bias=self.affine, use_scale=self.affine,
                         dtype=jnp.float32, name='norm'))
    return norm(x).astype(x.dtype)


class Modulation(nn.Module):
  """Scale and shift of normalised activations by the condition, zero at first."""
  parts: int
  width: int
  dtype: Any

  @nn.compact
  def __call__(self, c):
    """c: [b d]. Returns `parts` arrays [b width]."""
    out = nn.Dense(self.parts * self.width, dtype=self.dtype, name='out',
                   kernel_init=nn.initializers.zeros)(nn.silu(c))
    return jnp.split(out, self.parts, -1)


class MLP(nn.Module):
  """Dense, GELU, Dense; with `zero`, a residual of it starts as the identity."""
  hidden: int
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    """x: [b n d]. Returns [b n d]."""
    last = nn.initializers.zeros if self.zero else nn.linear.default_kernel_init
    h = nn.gelu(nn.Dense(self.hidden, dtype=self.dtype, name='up')(x))
    return nn.Dense(x.shape[-1], dtype=self.dtype, kernel_init=last, name='down')(h)


def space_to_depth(x, n: int):
  """[b h w c] -> [b h/n w/n n*n*c]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // n, n, w // n, n, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h // n, w // n, n * n * c)


def depth_to_space(x, n: int):
  """[b h w n*n*c] -> [b h*n w*n c]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, n, n, c // (n * n)).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h * n, w * n, c // (n * n))


def upsample(x):
  """Nearest neighbour, twice the size: [b h w c] -> [b 2h 2w c]."""
  b, h, w, c = x.shape
  return jax.image.resize(x, (b, 2 * h, 2 * w, c), 'nearest')
