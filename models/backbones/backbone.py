"""What all backbones have and declare, so that nobody asks which one it is."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp


class Backbone(nn.Module):
  """A network that predicts the diffusion target of a noised picture.

  Each is called with (x [b h w channels], Scalars, Context, taps) and returns f32[b h w
  out_channels]; with taps, indices of blocks, also {index: [b n d]}, the tokens of the
  picture after those blocks. check((h, w)) raises ValueError for fields that make no
  sense, or for a size that has no place.

  Attributes:
    scalars: names of context.Scalars that it is told beside t.
    time_unit: of layers.TIMES, in which it is told t.
    remat: of layers.REMAT, what of a block is recomputed for its gradient.
    out_channels: of the prediction, more than `channels` where a variance is learned
      (arXiv:2102.09672); 0 for as many.
    reads, needs: fields of the Context that it uses, and cannot do without.
    any_size: whether it works at other sizes than the one that it was made for.
    num_taps: how many blocks there are whose outputs can be asked for.
    augment_labels: how many numbers tell it how a picture was changed.
  """
  scalars: tuple[str, ...] = ()
  time_unit: str = 'steps'
  remat: str = 'none'
  dtype: Any = jnp.float32
  out_channels = 0
  reads = needs = frozenset()
  any_size = True
  num_taps = augment_labels = 0

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
