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
REMAT = {  # what of a block is recomputed for its gradient ('dots': all but products)
    'none': jax.checkpoint_policies.everything_saveable,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}
SCALAR_CHANNELS = 256  # sinusoids of each scalar beyond t


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


def embed_scalars(scalars, told, unit: str, features, embed, dtype):
  """What a network is told of its scalars, for every backbone.

  The layers are made in the module that calls this: for each name in `told` an MLP of
  that name on sinusoids of 1000 times the scalar, zero at first, so that a network of
  one time starts as one of more.

  Args:
    scalars: context.Scalars. told: names of those beyond t.
    unit: of TIMES, in which t is told.
    features: of the time in that unit, f32[b] -> [b f]. embed: [b f] -> [b d].

  Returns [b d].
  """
  c = embed(features(TIMES[unit](scalars.t)))
  width = c.shape[-1]
  for name in told:
    waves = sinusoids(1000 * getattr(scalars, name), SCALAR_CHANNELS)
    c = c + MLP(width, width, 'silu', zero=True, dtype=dtype, name=name)(waves)
  return c


def remat(block, policy: str, *args):
  """block(*args), of which REMAT[policy] is saved for the gradient."""
  if policy == 'none':
    return block(*args)
  call = nn.remat(lambda block, *args: block(*args), policy=REMAT[policy],
                  prevent_cse=False)
  return call(block, *args)


def repeat(spans, policy: str, x, *args, taps=()):
  """Runs spans of blocks one after another, each as a scan: compiled once.

  Args:
    spans: (block, depth) each: `depth` blocks of one shape, as in `scan_blocks`.
    policy: of REMAT.
    x: what the first block takes, any tree of arrays; args: what all of them take.
    taps: indices of blocks, counted through all spans.

  Returns:
    (x after the last block, {index: x after that block} of the taps).
  """
  first, tapped = 0, {}
  for block, depth in spans:
    if depth:
      inside = [i - first for i in taps if first <= i < first + depth]
      x, found, _ = scan_blocks(block, depth, policy, x, *args, taps=inside)
      tapped |= {first + i: y for i, y in found.items()}
    first += depth
  return x, tapped


def scan_blocks(block, depth: int, policy: str, x, *args, taps=(), skips=None,
                collect=False):
  """Runs `depth` blocks of one shape one after another, as a scan: compiled once.

  Args:
    block: a module, called as block(x, *args) -> x. Each turn has parameters of its
      own: they are stacked, and the first axis of each is the block.
    taps: indices of blocks whose outputs are wanted, from 0 to depth - 1.
    skips: [depth ...], of which block i takes the i-th as its last argument.
    collect: return the outputs of all blocks.

  Returns:
    (x after the last block, {index: x after that block} of the taps, x after each block
    [depth ...] if `collect`).
  """
  def run(block, x, skip):
    return block(x, *args) if skip is None else block(x, *args, skip)
  if policy != 'none':
    run = nn.remat(run, policy=REMAT[policy], prevent_cse=False)
  def turn(block, carry, each):
    (x, tapped), (skip, i) = carry, each
    x = run(block, x, skip)
    tapped = {at: jax.tree.map(lambda new, old: jnp.where(i == at, new, old), x, y)
              for at, y in tapped.items()}
    return (x, tapped), x if collect else None
  scan = nn.scan(turn, variable_axes={'params': 0}, length=depth,
                 split_rngs={'params': True, 'dropout': True})
  tapped = {i: jax.tree.map(jnp.zeros_like, x) for i in taps}
  (x, tapped), collected = scan(
      block, (x, tapped), (skips, np.arange(depth) if tapped else None))
  return x, tapped, collected


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
  """Rotary positions on a grid (arXiv:2104.09864): half of a head is rotated by the
  row, half by the column.

  Returns [b h*w heads width] -> the same, rotated.
  """
  rates = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
  rows, columns = np.meshgrid(np.arange(h), np.arange(w), indexing='ij')
  angles = [place.reshape(-1, 1) * rates for place in (rows, columns)]
  angles = np.concatenate(angles, -1)[:, None]  # [n 1 width/2]
  cos, sin = np.float32(np.cos(angles)), np.float32(np.sin(angles))
  def rotate(y):
    a, b = jnp.split(y.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1).astype(y.dtype)
  return rotate


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


def resample(x, way: str, kernel=(1, 1), pad: int | None = None):
  """Half or twice the size, through a separable filter.

  Args:
    x: [b h w c].
    way: 'down', 'up', or 'same', which returns x.
    kernel: of the filter, an even number of weights.
    pad: zeros around x on the way down; None for as many as halve the size.
  """
  if way == 'same':
    return x
  if way == 'up' and tuple(kernel) == (1, 1):
    return upsample(x)
  edge = (len(kernel) - 1) // 2 if pad is None else pad
  weights, stride = np.array(kernel) / sum(kernel), 2
  if way == 'up':
    edge, weights, stride = len(kernel) - 1 - edge, 2 * weights, 1
  for axis in (1, 2):
    zeros = [(0, 0, 0)] * 4
    zeros[axis] = (edge, edge, int(way == 'up'))  # around and, on the way up, between
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), zeros)
    size = x.shape[axis] - len(kernel) + 1
    x = sum(float(w) * jax.lax.slice_in_dim(x, i, i + size, stride, axis)
            for i, w in enumerate(weights))
  return x
