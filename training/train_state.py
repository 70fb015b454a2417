"""Everything that a training step changes."""
from typing import Any

from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from diffusion import time_sampling
from training import rules, sharding


@struct.dataclass
class TrainState:
  """Samples are drawn from the first of the averages."""
  step: Any           # int32[], updates tried so far, skipped ones included
  params: Any         # trained parameters, float32; None where they are frozen
  ema: Any            # their averages, a tuple of trees like `params`
  opt_state: Any      # of the optimizer
  loss_ema: Any       # f32[time_sampling.BINS], running mean squared loss by time
  skipped: Any        # int32[2], steps skipped in all and in a row
  frozen: Any = None  # parameters that stay, None where trained; None if all are


def partition(params, frozen, dtype: str | None = None):
  """Parameters in two, by a tree of bool: (trained, frozen), see TrainState.

  dtype: in which frozen ones are stored; None for their own. params: arrays or shapes.
  """
  if not any(jax.tree.leaves(frozen)):
    return params, None
  def pick(which):
    return jax.tree.map(lambda p, f: p if f == which else None, params, frozen)
  def stored(p):
    if isinstance(p, jax.ShapeDtypeStruct):
      return p.update(dtype=jnp.dtype(dtype))
    return p.astype(dtype)
  kept = pick(True)
  return pick(False), jax.tree.map(stored, kept) if dtype else kept


def combine(trained, frozen):
  """The way back: all parameters, or the average of some and the rest."""
  if frozen is None:
    return trained
  return jax.tree.map(lambda a, b: b if a is None else a, trained, frozen,
                      is_leaf=lambda x: x is None)


def with_part(state, part: str, values):
  """A new state whose parameters below `part`, 'a/b', are a tree of other values."""
  new = rules.by_name({part: values})
  def put(name, old):
    if name not in new:
      return old
    return sharding.place(np.asarray(new[name]).astype(old.dtype, copy=False),
                          old.sharding)
  def take(tree):
    return jax.tree.map(put, rules.names(tree), tree)
  return state.replace(params=take(state.params), ema=tuple(map(take, state.ema)),
                       frozen=take(state.frozen))


def with_new_tokens(state, starts, given):
  """A new state whose learned tokens start as others of their tables.

  starts: int[tokens], ids of the others; -1 leaves one as drawn. given: {part: values}
  that the state has from elsewhere: tokens among them stay.
  """
  params = rules.by_name(combine(state.params, state.frozen))
  there = {f'{part}/{name}' for part, values in given.items()
           for name in rules.by_name(values)}
  for name, new in params.items():
    part, _, leaf = name.rpartition('/')
    if leaf == 'new' and name not in there:
      rows = jnp.where(starts[:, None] < 0, new, params[f'{part}/embedding'][starts])
      state = with_part(state, part, {'new': rows})
  return state


def init_state(init, optimizer, key, averages: int = 1, frozen=None,
               frozen_dtype: str | None = None, ema_dtype: str = 'float32'):
  """The state before the first step, with so many averages.

  init: key -> parameters. frozen: parameters -> tree of bool, those that are not
  trained; None trains all. frozen_dtype: of `partition`.
  ema_dtype: in which averages are kept.
  """
  params, kept = init(key), None
  if frozen:
    params, kept = partition(params, frozen(params), frozen_dtype)
  copies = tuple(jax.tree.map(lambda p: jnp.array(p, ema_dtype), params)
                 for _ in range(averages))
  return TrainState(jnp.int32(0), params, copies, optimizer.init(params),
                    jnp.ones(time_sampling.BINS), jnp.zeros(2, jnp.int32), kept)


def state_shardings(shapes, mesh):
  """Shardings of a TrainState of shapes: the moments lie where their parameters do."""
  placed = sharding.param_shardings(mesh, shapes.params)
  by_path = {tuple(map(str, path)): (leaf.shape, place) for (path, leaf), place in
             zip(jax.tree.leaves_with_path(shapes.params), jax.tree.leaves(placed))}
  everywhere = sharding.replicated(mesh)
  def find(path, leaf):
    path = tuple(map(str, path))
    for i in range(len(path)):  # the name of a parameter ends the name of its moments
      shape, place = by_path.get(path[i:], (None, None))
      if shape == leaf.shape:
        return place
    return everywhere
  kept = shapes.frozen and sharding.param_shardings(mesh, shapes.frozen)
  return TrainState(everywhere, placed, (placed,) * len(shapes.ema),
                    jax.tree.map_with_path(find, shapes.opt_state), everywhere,
                    everywhere, kept)


def count(params) -> int:
  """How many numbers a tree of parameters has; 0 for None."""
  return sum(leaf.size for leaf in jax.tree.leaves(params))
