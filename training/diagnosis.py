"""Which number of a training step is not finite first."""
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import placement
from training import accumulation, rules, train_state, train_step


def finite(tree):
  """bool[]: whether all floating-point numbers of a tree are finite."""
  leaves = [jnp.isfinite(x).all() for x in jax.tree.leaves(tree)
            if hasattr(x, 'dtype') and jnp.issubdtype(x.dtype, jnp.inexact)]
  return jnp.stack(leaves).all() if leaves else jnp.bool_(True)


def first_bad_layer(found: dict):
  """For nn.intercept_methods: notes in {order: name} the layers that make of finite
  numbers one that is not, while the program runs."""
  seen = []
  def note(order, name, bad):
    if bad:
      found[order] = name
  def watch(call, args, kwargs, context):
    out = call(*args, **kwargs)
    if context.method_name == '__call__':
      seen.append('/'.join(context.module.path))
      jax.debug.callback(functools.partial(note, len(seen), seen[-1]),
                         finite((args, kwargs)) & ~finite(out))
    return out
  return nn.intercept_methods(watch)


def first_bad_name(tree) -> str | None:
  """The name of a tree's first leaf, in order, with a number that is not finite."""
  fine = jax.device_get(jax.jit(functools.partial(jax.tree.map, finite))(tree))
  return next((name for name, ok in rules.by_name(fine).items() if not ok), None)


def first_not_finite(built, state, batch, root, steps: int, parts: int) -> str | None:
  """What is not finite first when a step is done again, in words; None if nothing is.

  built: training.Training. state, batch, root: as the step begins with. steps: of the
  run. parts: config.train.accumulate.
  """
  if name := first_bad_name(train_state.combine(state.params, state.frozen)):
    return f'the parameter {name}'
  found = {}
  @jax.jit
  def again(state, batch, root, part):
    with placement.over(built.mesh), first_bad_layer(found):
      drawn = train_step.draw(built.objective, state, root, batch, steps)
      inputs = jax.tree.map(lambda x: accumulation.split(x, parts)[part],
                            (batch, drawn))
      fixed = {'ema': state.ema[0], 'frozen': state.frozen}
      grad_fn = jax.value_and_grad(train_step.mean_loss(built.objective), has_aux=True)
      (_, (terms, _)), grads = grad_fn(state.params, fixed, inputs)
      return terms, jax.tree.map(finite, grads)
  for part in range(parts):
    terms, fine = jax.device_get(again(state, batch, root, part))
    jax.effects_barrier()
    if found:
      return f'the output of {found[min(found)] or "the model"}'
    for name, term in terms.items():
      if not jnp.isfinite(term):
        return f'the loss {name!r}'
    for name, ok in rules.by_name(fine).items():
      if not ok:
        return f'the gradient of {name}'
  return None
