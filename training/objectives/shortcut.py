"""Shortcut models: a step of twice the length is to do what two steps do."""
import jax
import jax.numpy as jnp

from diffusion import process, specs
from training.objectives import objective, two_times
from training.objectives.objective import Given, Objective


def shortcut(given: Given, *, steps: int = 128, share: float = 0.25) -> Objective:
  """arXiv:2410.12557 alg. 1; drawn from with solver flow_map in 1, 2, 4, ... steps.

  A share of the pictures learns u over 2 d from two steps of d that the average takes,
  the mean of both (eq. 5); d is a power of two from 1 / steps to 1 / 2, t a multiple of
  2 d. The others learn the velocity, with s = t. The shortest of the steps that are
  taken is the velocity at its start.

  steps: a power of two.
  """
  two_times.check(given)
  specs.between(0, 1, share=share)
  specs.require(lambda n: n >= 2 and not n & (n - 1), 'it must be a power of two, 2 or '
                'more', steps=steps)
  def draw(key, shape, loss_ema, progress):
    drawn = objective.draw_inputs(given, key, shape, loss_ema, progress)
    which, level, place = jax.random.split(jax.random.fold_in(key, 1), 3)
    jumps = 2 ** jax.random.randint(level, shape[:1], 0, steps.bit_length() - 1)
    at = jnp.floor(jax.random.uniform(place, shape[:1]) * jumps)  # of as many
    apart = jax.random.uniform(which, shape[:1]) < share
    return drawn | {'t': jnp.where(apart, (at + 1) / jumps, drawn['t']),
                    's': jnp.where(apart, at / jumps, drawn['t'])}

  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    t, s, half = drawn['t'], drawn['s'], (drawn['t'] + drawn['s']) / 2
    x_t = given.process.add_noise(x0, drawn['eps'], t)
    average = two_times.mean_velocity(
        given, ema, objective.read_batch(given, ema, batch, drawn)[1])
    def halfway(x, t, s):  # the shortest step is told as the velocity
      return average(x, t, jnp.where(t - s < 1.5 / steps, t, s))
    first = halfway(x_t, t, half)
    x_half = x_t - process.append_dims(t - half, x_t) * first
    both = (first + halfway(x_half, half, s)) / 2
    apart = process.append_dims(s < t, x_t)
    wanted = jax.lax.stop_gradient(jnp.where(apart, both, drawn['eps'] - x0))
    pred = two_times.mean_velocity(given, params, context, drawn['dropout_keys'])(
        x_t, t, s)
    each = jnp.square(pred - wanted).mean(tuple(range(1, x0.ndim)))
    return {'shortcut': each * jnp.where(s < t, 1.0, drawn['importance'])}, {
        't': t, 'loss': each}
  return Objective(draw, loss, scalars=('s',))
