"""What all backbones have and declare, so that nobody asks which one it is."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, layers, recomputed
from models.context import Scalars


class Backbone(nn.Module):
  """A network that predicts the diffusion target of a noised picture.

  x [b h w channels], Scalars, Context and taps, indices of blocks, give the prediction
  f32[b h w out_channels], and where there are taps also {index: [b n d]}, the tokens of
  the picture after those blocks. run(x, scalars, context, taps) makes both; check((h,
  w)) raises ValueError for fields that do not go together, or for a size that has no
  place, and checks.fields reads what is declared.

  Attributes:
    scalars: names of context.Scalars that it is told beside t.
    time_unit: of layers.TIMES, in which it is told t.
    remat: of recomputed.REMAT, what of a block is recomputed for its gradient.
    out_channels: of the prediction, more than `channels` where a variance is learned
      (arXiv:2102.09672); 0 for as many.
    reads, needs: fields of the Context that it uses, and cannot do without.
    any_size: whether it works at other sizes than the one that it was made for.
    num_taps: how many blocks there are whose outputs can be asked for.
    augment_labels: how many numbers tell it how a picture was changed.
    beside: how many channels it takes beside those of the noised picture.
  """
  scalars: tuple[str, ...] = ()
  time_unit: str = 'steps'
  remat: str = 'none'
  dtype: Any = jnp.float32
  out_channels = 0
  reads = needs = frozenset()
  any_size = True
  num_taps = augment_labels = beside = 0
  choices = dict(time_unit=layers.TIMES, remat=recomputed.REMAT,
                 scalars=Scalars._fields[1:])

  @nn.compact
  def __call__(self, x, scalars, context, taps=()):
    self.check_call(scalars, context, taps)
    x, tapped = self.run(x, scalars, context, taps)
    return (x, tapped) if taps else x

  def started(self, values: dict, shapes: dict) -> dict:
    """Values of its parameters, of weights that may lack some, as they are at first."""
    return values

  def check_call(self, scalars, context, taps):
    """Raises ValueError for what the network is to be told and is not, and for taps of
    blocks that it does not have."""
    name, needs = type(self).__name__, sorted(self.needs)
    told = [('context', context, needs), ('scalars', scalars, self.scalars)]
    if missing := [f'{of}.{field}' for of, given, fields in told for field in fields
                   if getattr(given, field) is None]:
      raise ValueError(f'{name} is to be told {" and ".join(missing)}; got None.')
    if odd := [i for i in taps if not 0 <= i < self.num_taps]:
      raise ValueError(f'taps are {tuple(taps)}, but {name} has {self.num_taps} blocks '
                       f'to tap; there is no {odd[0]}.')

  # The layers of these are made in the module that calls them.

  def embed(self, scalars, features, layer, told=None):
    """What it is told of Scalars: layers.embed_scalars in its unit. told: names, where
    they are not all of self.scalars."""
    told = self.scalars if told is None else told
    return layers.embed_scalars(scalars, told, self.time_unit, features, layer,
                                self.dtype)

  def silu_mlp(self, name: str, width: int):
    """Dense, SiLU, Dense, both as wide."""
    return layers.MLP(width, width, 'silu', dtype=self.dtype, name=name)


class Transformer(Backbone):
  """One over tokens of patch x patch pixels, with fields width, depth, heads, patch."""
  remat: str = 'elementwise'  # a scan stores what a gradient needs, and reads it again
  num_taps = property(lambda self: self.depth)
  positive = ('width', 'depth', 'heads', 'patch')

  def patches(self, x):
    """Pictures [b h w c] as tokens: ([b h/patch*w/patch width], h/patch, w/patch)."""
    x = layers.space_to_depth(x.astype(self.dtype), self.patch)
    tokens = x.reshape(len(x), -1, x.shape[-1])
    return nn.Dense(self.width, dtype=self.dtype, name='in')(tokens), *x.shape[1:3]

  def pictures(self, x, h: int, w: int, init=nn.initializers.zeros):
    """The way back, to f32[b h w out_channels], through a last layer."""
    out = (self.out_channels or self.channels) * self.patch**2
    x = nn.Dense(out, dtype=jnp.float32, kernel_init=init, name='out')(x)
    return layers.depth_to_space(x.reshape(len(x), h, w, out), self.patch)

  def check(self, size):
    """Raises ValueError for fields that do not go together, at (h, w)."""
    checks.heads(self, 'config.model')
    checks.multiple(size, self.patch, 'of its patches')
