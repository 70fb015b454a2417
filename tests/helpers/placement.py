"""Where parameters lie on a mesh, whatever the model."""
import math
import re

import jax

from training import optim, rules, sharding


def places_and_axes_make_sense(params, count):
  """Nearly all is spread over a mesh, no scan over its blocks, kernels have inputs."""
  placed = sharding.param_shardings(sharding.make_mesh(1, 4, 2), params)
  spread = 0
  for name, p, place in zip(*map(jax.tree.leaves, (
      rules.names(params), params, placed))):
    shard = place.shard_shape(p.shape)
    spread += p.size * (math.prod(shard) * 4 <= p.size)
    if 'blocks/' in name:
      assert shard[0] == p.shape[0]
    if axes := optim.axes_of(name, p):
      first, split, end = axes
      assert first < split < end == p.ndim
      assert re.search(r'/(q|k|v)/', name) is None or p.shape[split:] == p.shape[-2:]
  assert spread > 0.95 * count
