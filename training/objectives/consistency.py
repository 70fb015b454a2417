"""Consistency training: every point of a path is to lead to the same picture."""
import functools

import jax
import jax.numpy as jnp

from diffusion import process, schedules
from training.objectives import objective
from training.objectives.objective import Given, Objective


def consistency(given: Given, *, steps: int = 32) -> Objective:
  """Consistency training, arXiv:2303.01469 alg. 3; it is drawn from with solver lcm.

  What the network takes for x0 at the time t = i / steps is to be what its average
  takes for it at (i - 1) / steps, of the same picture and noise; at 0 that is the
  picture itself. config.diffusion.time_sampling gives t before it is rounded up,
  loss_weight weighs the squared error of x0.

  Args:
    steps: number of the times. More have less bias, and learn more slowly.
  """
  if steps < 2:
    raise ValueError(f'steps is {steps}; it must be 2 or more.')

  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    i = jnp.clip(jnp.ceil(drawn['t'] * steps), 1, steps)
    t, s = i / steps, jnp.maximum(i - 1, 0.5) / steps
    t = jnp.minimum(t, given.process.t_max)
    def x0_of(params, context, t):
      predict = objective.predictor(given, params, context, drawn['dropout_keys'])
      alpha, sigma = given.process.schedule(t)
      x_t = process.add_noise(x0, drawn['eps'], alpha, sigma)
      return process.to_x0(given.process.target, predict(x_t, t).astype(jnp.float32),
                           x_t, alpha, sigma)
    _, frozen_context = objective.read_batch(given, ema, batch, drawn)
    before = jax.lax.stop_gradient(x0_of(ema, frozen_context, s))
    wanted = jnp.where(process.append_dims(i > 1, x0), before, x0)
    error = jnp.square(x0_of(params, context, t) - wanted)
    each = error.mean(tuple(range(1, x0.ndim)))
    weight = given.loss_weight(schedules.log_snr(given.process.schedule, t))
    each = each * weight * drawn['importance']
    return {'consistency': each}, {'t': t, 'loss': each}
  return Objective(functools.partial(objective.draw_inputs, given), loss)
