"""Consistency training: every point of a path is to lead to the same picture."""
import functools

import jax.numpy as jnp

from diffusion import process, specs
from training.objectives import objective
from training.objectives.objective import Given, Objective


def consistency(given: Given, *, steps: int = 32) -> Objective:
  """Consistency training, arXiv:2303.01469 alg. 3; it is drawn from with solver lcm.

  What the network takes for x0 at the time t = i / steps is to be what its average
  takes for it at (i - 1) / steps, of the same picture and noise; at 0 that is the
  picture itself. config.diffusion.time_sampling gives t before it is rounded up,
  loss_weight weighs the squared error of x0. steps: number of the times; more have less
  bias, and learn more slowly.
  """
  specs.require(lambda n: n >= 2, 'it must be 2 or more', steps=steps)
  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    i = jnp.clip(jnp.ceil(drawn['t'] * steps), 1, steps)
    t, s = jnp.minimum(i / steps, given.process.t_max), jnp.maximum(i - 1, 0.5) / steps
    def x0_of(params, context, t):
      denoise = objective.denoiser(given, params, context, drawn['dropout_keys'])
      return denoise(given.process.add_noise(x0, drawn['eps'], t), t)
    before = x0_of(ema, objective.read_batch(given, ema, batch, drawn)[1], s)
    wanted = jnp.where(process.append_dims(i > 1, x0), before, x0)
    return objective.x0_error(given, 'consistency', x0_of(params, context, t), wanted,
                              t, drawn['importance'])
  return Objective(functools.partial(objective.draw_inputs, given), loss)
