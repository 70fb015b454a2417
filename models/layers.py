"""Layers that several models share. Parameters and statistics are float32."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

TIMES = {  # what a network is told of t in [0, 1], 0 being data
    'steps': lambda t: 1000 * t,
    'index': lambda t: 1000 * t - 1,          # step i of 0 to 999 is t = (i + 1) / 1000
    'edm': lambda t: jnp.log(80 * t) / 4,     # sigma = 80 t: arXiv:2206.00364 table 1
    'data': lambda t: 1 - t,                  # the share of data: arXiv:2401.08740
}
ACTIVATIONS = {
    'silu': nn.silu,
    'gelu': lambda x: nn.gelu(x, approximate=False),
    'gelu_tanh': nn.gelu,
    'quick_gelu': lambda x: x * nn.sigmoid(1.702 * x),
    'geglu': lambda x: (lambda a, b: a * nn.gelu(b, approximate=False))(
        *jnp.split(x, 2, -1)),                # arXiv:2002.05202
}
REMAT = {  # name -> what a block keeps for its gradient; the rest is computed again
    'all': jax.checkpoint_policies.everything_saveable,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'none': jax.checkpoint_policies.nothing_saveable,
}


def sinusoids(value, width: int):
  """Cosines, then sines, at rates from 1 down to 1/10,000.

  As in arXiv:1706.03762 section 3.5. value: f32[...]. Returns f32[... width].
  """
  rates = 10_000.0 ** -(np.arange(width // 2) / (width // 2))
  angles = value[..., None] * np.float32(rates)
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def sinusoids_ddpm(value, width: int):
  """Sines, then cosines, the last rate being 1/10,000, as in DDPM's code."""
  rates = 10_000.0 ** -(np.arange(width // 2) / (width // 2 - 1))
  angles = value[..., None] * np.float32(rates)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)


def fourier(value, width: int):
  """Sines, then cosines, at fixed rates from a normal: arXiv:2006.10739."""
  rates = 2 * np.pi * 16 * np.random.RandomState(0).normal(size=width // 2)
  angles = value[..., None] * np.float32(rates)
  return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)


FEATURES = {'sinusoids': sinusoids, 'ddpm': sinusoids_ddpm, 'fourier': fourier}


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
    return nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros,
                    name='out')(waves)[:, 0]


class Norm(nn.Module):
  """Layer or group normalisation with float32 statistics.

  Attributes:
    groups: 0 normalises each token over its channels; g > 0 each picture over its
      places and each of g groups of channels.
    affine: learn a scale and a bias.
  """
  groups: int = 0
  affine: bool = True
  eps: float = 1e-6

  @nn.compact
  def __call__(self, x):
    """x: [b ... d]. Returns the same, in its own dtype."""
    fields = dict(use_bias=self.affine, use_scale=self.affine, dtype=jnp.float32,
                  epsilon=self.eps, name='norm')
    layer = nn.GroupNorm(self.groups, **fields) if self.groups else nn.LayerNorm(
        **fields)
    return layer(x).astype(x.dtype)


class Modulation(nn.Module):
  """Scales, shifts and gates of activations by the condition, zero at first."""
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
  """Dense, activation, Dense.

  Attributes:
    hidden: width between the two.
    width: of the output; 0 for that of the input.
    act: of ACTIVATIONS.
    zero: start the output at zero, so that a residual starts as the identity.
  """
  hidden: int
  width: int = 0
  act: str = 'gelu_tanh'
  zero: bool = False
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    """x: [b ... d]. Returns [b ... width]."""
    last = nn.initializers.zeros if self.zero else nn.linear.default_kernel_init
    hidden = self.hidden * (2 if self.act == 'geglu' else 1)
    h = ACTIVATIONS[self.act](nn.Dense(hidden, dtype=self.dtype, name='up')(x))
    return nn.Dense(self.width or x.shape[-1], dtype=self.dtype, kernel_init=last,
                    name='down')(h)


def remat(block, keep: str, *args):
  """block(*args), keeping for its gradient what the policy `keep` of REMAT says."""
  if keep == 'all':
    return block(*args)
  call = nn.remat(lambda block, *args: block(*args), policy=REMAT[keep],
                  prevent_cse=False)
  return call(block, *args)


def repeat(block, depth: int, keep: str, x, *args):
  """x after `depth` blocks of one shape, one after another: see `repeat_with_skips`."""
  return repeat_with_skips(block, depth, keep, x, *args, collect=False)[0]


def repeat_with_skips(block, depth: int, keep: str, x, *args, skips=None, collect=True):
  """Runs `depth` blocks of one shape one after another, as a scan: compiled once.

  Args:
    block: a module, called as block(x, *args) -> x. Each turn has parameters of its
      own: they are stacked, and the first axis of each is the block.
    keep: of REMAT.
    skips: [depth ...], of which block i takes the i-th as its last argument.

  Returns:
    (x after the last block, x after each block [depth ...] if `collect`).
  """
  def turn(block, x, skip):
    x = block(x, *args) if skip is None else block(x, *args, skip)
    return x, x if collect else None
  if keep != 'all':
    turn = nn.remat(turn, policy=REMAT[keep], prevent_cse=False)
  scan = nn.scan(turn, variable_axes={'params': 0}, length=depth,
                 split_rngs={'params': True, 'dropout': True})
  return scan(block, x, skips)


def positions(h: int, w: int, width: int, start=(0.0, 0.0), step: float = 1.0):
  """Fixed sinusoids of each place, as in DiT: half of the width for its column, half
  for its row, each sines and then cosines.

  start, step: coordinate of the first row and column, and from one to the next.
  Returns f32[h*w width].
  """
  rates = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
  rows, columns = (begin + step * np.arange(n) for begin, n in zip(start, (h, w)))
  rows, columns = np.meshgrid(rows, columns, indexing='ij')
  angles = (place.reshape(-1, 1) * rates for place in (columns, rows))
  waves = [wave(a) for a in angles for wave in (np.sin, np.cos)]
  return np.concatenate(waves, -1).astype(np.float32)


def rotary(h: int, w: int, width: int):
  """Rotary positions on a grid (arXiv:2104.09864): half of a head turns with the row,
  half with the column.

  Returns [b h*w heads width] -> the same, turned.
  """
  rates = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
  rows, columns = np.meshgrid(np.arange(h), np.arange(w), indexing='ij')
  angles = [place.reshape(-1, 1) * rates for place in (rows, columns)]
  angles = np.concatenate(angles, -1)[:, None]  # [n 1 width/2]
  cos, sin = np.float32(np.cos(angles)), np.float32(np.sin(angles))
  def turn(y):
    a, b = jnp.split(y.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1).astype(y.dtype)
  return turn


def space_to_depth(x, n: int):
  """[b h w c] -> [b h/n w/n n*n*c]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h // n, n, w // n, n, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h // n, w // n, n * n * c)


def patches(x, n: int, width: int, dtype):
  """Pictures [b h w c] as tokens of n x n pixels: ([b h/n*w/n width], h/n, w/n).

  The layer is made in the module that calls this.
  """
  x = space_to_depth(x.astype(dtype), n)
  b, h, w, _ = x.shape
  return nn.Dense(width, dtype=dtype, name='in')(x.reshape(b, h * w, -1)), h, w


def depth_to_space(x, n: int):
  """[b h w n*n*c] -> [b h*n w*n c]."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, n, n, c // (n * n)).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, h * n, w * n, c // (n * n))


def upsample(x):
  """Nearest neighbour, twice the size: [b h w c] -> [b 2h 2w c]."""
  b, h, w, c = x.shape
  x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


def resampled(x, way: str, taps=(1, 1), pad: int | None = None):
  """Half or twice the size, through a separable filter of an even number of taps.

  Args:
    x: [b h w c].
    way: 'down', 'up', or 'same', which returns x.
    pad: zeros around x on the way down; None for as many as halve the size.
  """
  if way == 'same':
    return x
  if way == 'up' and tuple(taps) == (1, 1):
    return upsample(x)
  edge = (len(taps) - 1) // 2 if pad is None else pad
  weights, stride = np.array(taps) / sum(taps), 2
  if way == 'up':
    edge, weights, stride = len(taps) - 1 - edge, 2 * weights, 1
  for axis in (1, 2):
    zeros = [(0, 0, 0)] * 4
    zeros[axis] = (edge, edge, int(way == 'up'))  # around and, on the way up, between
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), zeros)
    size = x.shape[axis] - len(taps) + 1
    x = sum(float(tap) * jax.lax.slice_in_dim(x, i, i + size, stride, axis)
            for i, tap in enumerate(weights))
  return x
