"""Layers that several models share. Parameters and statistics are float32."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models.recomputed import checkpointed

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
SCALAR_CHANNELS = 256  # sinusoids of each scalar beyond t


def waves(value, rates, first=jnp.sin, last=jnp.cos):
  """Sines, then cosines, at those rates: f32[...] -> f32[... 2 * len(rates)]."""
  angles = value[..., None] * np.float32(rates)
  return jnp.concatenate([first(angles), last(angles)], -1)


def sinusoids(value, width: int):
  """Cosines, then sines, at rates from 1 down to 1/10,000: f32[...] -> f32[... width].

  As in arXiv:1706.03762 section 3.5.
  """
  rates = 10_000.0 ** -(np.arange(width // 2) / (width // 2))
  return waves(value, rates, jnp.cos, jnp.sin)


FEATURES = {  # of a time, f32[b] -> f32[b width]
    'sinusoids': sinusoids,
    'ddpm': lambda t, width: waves(  # as in DDPM's code: the last rate is 1/10,000
        t, 10_000.0 ** -(np.arange(width // 2) / (width // 2 - 1))),
    'fourier': lambda t, width: waves(  # fixed rates of a normal: arXiv:2006.10739
        t, 2 * np.pi * 16 * np.random.RandomState(0).normal(size=width // 2)),
}


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
    args = dict(use_bias=self.affine, use_scale=self.affine, dtype=jnp.float32,
                epsilon=self.eps, name='norm')
    layer = nn.GroupNorm(self.groups, **args) if self.groups else nn.LayerNorm(**args)
    return layer(x).astype(x.dtype)


class Embed(nn.Module):
  """A table of tokens, and a parameter of its own for those that were added, whose ids
  come after: textual inversion learns it alone (arXiv:2208.01618)."""
  vocab: int
  width: int
  std: float
  added: int = 0

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns [b l width]."""
    init = nn.initializers.normal(self.std)
    table = self.param('embedding', init, (self.vocab, self.width))
    x = jnp.take(table, tokens, axis=0, mode='clip')
    if not self.added:
      return x
    new = self.param('new', init, (self.added, self.width))
    more = jnp.take(new, tokens - self.vocab, axis=0, mode='clip')
    return jnp.where((tokens < self.vocab)[..., None], x, more)


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


def rows_product(x, kernel, dimension_numbers, **kwargs):
  """The dot_general of a Dense, over [rows d]: on a CPU the gradient to its kernel can
  take half the time of one that sums over pictures and over places."""
  del dimension_numbers
  y = jax.lax.dot(x.reshape(-1, x.shape[-1]), kernel, **kwargs)
  return y.reshape(*x.shape[:-1], -1)


class MLP(nn.Module):
  """Dense, activation, Dense.

  Attributes:
    hidden: width between the two.
    width: of the output; 0 for that of the input.
    act: of ACTIVATIONS.
    gated: a third layer, beside the first, goes through the activation and gates it.
    zero: start the output at zero, so that a residual starts as the identity.
    stds: of the first weights, before the activation and after it; () for flax's own.
  """
  hidden: int
  width: int = 0
  act: str = 'gelu_tanh'
  gated: bool = False
  bias: bool = True
  zero: bool = False
  stds: tuple[float, ...] = ()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x):
    """x: [b ... d]. Returns [b ... width]."""
    first, last = map(nn.initializers.normal, self.stds) if self.stds else (
        [nn.linear.default_kernel_init] * 2)
    def dense(name, width, y, init=first):
      return nn.Dense(width, use_bias=self.bias, dtype=self.dtype, kernel_init=init,
                      dot_general=rows_product, name=name)(y)
    act, hidden = ACTIVATIONS[self.act], self.hidden * (1 + (self.act == 'geglu'))
    h = dense('up', hidden, x)
    h = act(dense('gate', hidden, x)) * h if self.gated else act(h)
    return dense('down', self.width or x.shape[-1], h,
                 nn.initializers.zeros if self.zero else last)


def embed_scalars(scalars, told, unit: str, features, embed, dtype):
  """What a network is told of its scalars, for every backbone: [b d].

  The layers are made in the module that calls this: for each name in `told` an MLP of
  that name on sinusoids of 1000 times the scalar, zero at first, so that a network of
  one time starts as one of more.

  Args:
    scalars: context.Scalars. told: names of those beyond t.
    unit: of TIMES, in which t is told.
    features: of the time in that unit, f32[b] -> [b f]. embed: [b f] -> [b d].
  """
  c = embed(features(TIMES[unit](scalars.t)))
  width = c.shape[-1]
  for name in told:
    waves = sinusoids(1000 * getattr(scalars, name), SCALAR_CHANNELS)
    c = c + MLP(width, width, 'silu', zero=True, dtype=dtype, name=name)(waves)
  return c


def remat(block, policy: str, *args):
  """block(*args), of which REMAT[policy] is saved for the gradient."""
  return checkpointed(lambda block, *args: block(*args), policy)(block, *args)


def repeat(spans, policy: str, x, *args, taps=()):
  """Runs spans of blocks one after another, each as a scan: compiled once.

  Returns (x after the last block, {index: x after that block} of the taps).

  Args:
    spans: (block, depth) each, as in `scan_blocks`.
    policy: of REMAT.
    x: what the first block takes, any tree of arrays; args: what all of them take.
    taps: indices of blocks, counted through all spans.
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
  """Runs `depth` blocks of one shape, as `repeat` does.

  Args:
    block: a module, called as block(x, *args) -> x. Each turn has parameters of its
      own: they are stacked, and the first axis of each is the block.
    skips: [depth ...], of which block i takes the i-th as its last argument.

  Returns (x, tapped, x after each block [depth ...] if `collect`, else None).
  """
  run = checkpointed(lambda block, x, *skip: block(x, *args, *skip), policy)
  def turn(block, carry, each):
    (x, tapped), (skip, i) = carry, each
    x = run(block, x) if skip is None else run(block, x, skip)
    tapped = {at: jax.tree.map(lambda new, old: jnp.where(i == at, new, old), x, y)
              for at, y in tapped.items()}
    return (x, tapped), x if collect else None
  scan = nn.scan(turn, variable_axes={'params': 0}, length=depth,
                 split_rngs={'params': True, 'dropout': True})
  tapped = {i: jax.tree.map(jnp.zeros_like, x) for i in taps}
  (x, tapped), collected = scan(
      block, (x, tapped), (skips, np.arange(depth) if tapped else None))
  return x, tapped, collected


def angles(h: int, w: int, width: int, start=(0.0, 0.0), step: float = 1.0):
  """Rows and columns of a grid times rates from 1 down: f64[h*w width/4] each."""
  rates = 10_000.0 ** -(np.arange(width // 4) / (width // 4))
  places = (begin + step * np.arange(n) for begin, n in zip(start, (h, w)))
  return [place.reshape(-1, 1) * rates for place in np.meshgrid(*places, indexing='ij')]


def positions(h: int, w: int, width: int, start=(0.0, 0.0), step: float = 1.0):
  """Fixed sinusoids of each place, as in DiT, f32[h*w width]: half for its column, half
  for its row, each sines and then cosines.

  start, step: coordinate of the first row and column, and from one to the next.
  """
  rows, columns = angles(h, w, width, start, step)
  return np.concatenate([wave(a) for a in (columns, rows) for wave in (np.sin, np.cos)],
                        -1).astype(np.float32)


def rotary(h: int, w: int, width: int):
  """Rotary positions on a grid (arXiv:2104.09864): [b h*w heads width] -> the same,
  half of each head rotated by the row, half by the column."""
  turn = np.concatenate(angles(h, w, width), -1)[:, None]  # [n 1 width/2]
  cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
  def rotate(y):
    a, b = jnp.split(y.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1).astype(y.dtype)
  return rotate


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
  x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
  return x.reshape(b, 2 * h, 2 * w, c)


def resample(x, way: str, kernel=(1, 1), pad: int | None = None):
  """x [b h w c] at half or twice the size, through a separable filter.

  Args:
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
