"""Everything that a training step changes."""
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp

from diffusion import times
from training import mesh as meshes


@struct.dataclass
class TrainState:
  """Attributes:
    step: int32[], updates tried so far, skipped ones included.
    params: trained parameters, float32.
    ema: their averages, a tuple of trees like `params`; samples are drawn from the
      first.
    opt_state: of the optimizer.
    squares: f32[times.BINS], running mean square loss by time.
    skipped: int32[2], steps skipped in all and in a row.
  """
  step: Any
  params: Any
  ema: Any
  opt_state: Any
  squares: Any
  skipped: Any


def create(init, optimizer, mesh, key, averages: int = 1):
  """A fresh state, each leaf made where it is to lie, and its shardings.

  Args:
    init: key -> parameters.
    averages: how many are kept.

  Returns:
    (TrainState, TrainState of shardings).
  """
  def fresh(key):
    params = init(key)
    copies = tuple(jax.tree.map(jnp.copy, params) for _ in range(averages))
    return TrainState(jnp.int32(0), params, copies, optimizer.init(params),
                      jnp.ones(times.BINS), jnp.zeros(2, jnp.int32))
  shardings = state_shardings(jax.eval_shape(fresh, key), mesh)
  return jax.jit(fresh, out_shardings=shardings)(key), shardings


def state_shardings(shapes, mesh):
  """Shardings of a TrainState of shapes: the moments lie where their parameters do."""
  placed = meshes.shardings(mesh, shapes.params)
  by_path = {tuple(map(str, path)): (leaf.shape, sharding) for (path, leaf), sharding in
             zip(jax.tree_util.tree_leaves_with_path(shapes.params),
                 jax.tree.leaves(placed))}
  whole = meshes.replicated(mesh)
  def find(path, leaf):
    path = tuple(map(str, path))
    for i in range(len(path)):  # the name of a parameter ends the name of its moments
      shape, sharding = by_path.get(path[i:], (None, None))
      if shape == leaf.shape:
        return sharding
    return whole
  return TrainState(whole, placed, (placed,) * len(shapes.ema),
                    jax.tree.map_with_path(find, shapes.opt_state), whole, whole)
