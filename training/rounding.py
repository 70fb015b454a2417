"""Numbers kept in bfloat16, rounded at random, so that small changes are not lost.

An average that forgets a thousandth a step changes by less than half of bfloat16's last
bit (1 in 512): rounded to the nearest it would stand still. Rounded up with the chance
of what is cut off, it is right in expectation (arXiv:2010.06192).
"""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

MOMENTS = ('mu', 'ema')  # fields of optax's states that are first moments


def stochastic_round(x, key):
  """f32 -> bfloat16: one of the two neighbours, whose mean is x. What is not finite
  stays as it is."""
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  raised = bits + (jax.random.bits(key, x.shape, jnp.uint32) >> 16)
  kept = jax.lax.bitcast_convert_type((raised >> 16).astype(jnp.uint16), jnp.bfloat16)
  return jnp.where(jnp.isfinite(x), kept, x.astype(jnp.bfloat16))


def stored(tree, like, key):
  """A tree of f32 in the dtypes of `like`, what becomes bfloat16 rounded at random."""
  leaves, form = jax.tree.flatten(tree)
  return form.unflatten([
      stochastic_round(x, jax.random.fold_in(key, i))
      if old.dtype == jnp.bfloat16 != x.dtype else x.astype(old.dtype)
      for i, (x, old) in enumerate(zip(leaves, jax.tree.leaves(like)))])


class Kept(NamedTuple):
  """State of `keep_moments`."""
  inner: Any
  count: Any  # int32[], updates so far, by which the rounding is keyed


def keep_moments(inner, dtype: str):
  """An optimizer of optax whose first moments lie in `dtype` between steps.

  Raises ValueError, where its state is made, for one that keeps none.
  """
  def cast(state, dtype):
    return jax.tree.map_with_path(
        lambda path, x: x.astype(dtype) if is_moment(path) else x, state)
  def init(params):
    state = inner.init(params)
    if not any(is_moment(path) for path, _ in jax.tree.leaves_with_path(state)):
      raise ValueError(f'config.optim.moment_dtype is {dtype!r}, but this optimizer '
                       'keeps no first moment.')
    return Kept(cast(state, dtype), jnp.int32(0))
  def update(updates, state, params=None):
    updates, new = inner.update(updates, cast(state.inner, jnp.float32), params)
    key = jax.random.fold_in(jax.random.key(0), state.count)
    return updates, Kept(stored(new, state.inner, key), state.count + 1)
  return optax.GradientTransformation(init, update)


def is_moment(path) -> bool:
  """Whether a leaf of an optimizer's state is of a first moment."""
  return any(getattr(part, 'name', None) in MOMENTS for part in path)
