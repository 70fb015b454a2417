"""Progressive distillation: a student's step does what two of its teacher do."""
import functools

import jax
import jax.numpy as jnp

from diffusion import posterior, process, specs
from training.objectives import objective
from training.objectives.objective import Given, Objective, Part


def progressive_distillation(given: Given, *, steps: int = 16) -> Objective:
  """arXiv:2202.00512 alg. 2: x0 such that one step of DDIM ends where two do.

  The teacher, which takes 2 * steps of them, is a part of the parameters that stays as
  it is, read by the row ('teacher', folder) of config.init_from; the student may start
  from the same. It is drawn from with solver ddim and so many steps, and is the teacher
  of the next, of half as many. config.diffusion.time_sampling gives t before it is
  rounded up to a multiple of 1 / steps.
  """
  specs.require(lambda n: n >= 1, 'it must be 1 or more', steps=steps)
  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    i = jnp.clip(jnp.ceil(drawn['t'] * steps), 1, steps)
    t = jnp.minimum(i / steps, given.process.t_max)
    half, s = (i - 0.5) / steps, (i - 1) / steps
    x_t = given.process.add_noise(x0, drawn['eps'], t)
    told = objective.read_batch(given, params['teacher'], batch, drawn)[1]
    teach = objective.denoiser(given, params['teacher'], told)
    now, middle, then = ([process.append_dims(side, x_t) for side in
                          given.process.schedule(time)] for time in (t, half, s))
    x_half = posterior.transfer(x_t, teach(x_t, t), now, middle)
    x_s = posterior.transfer(x_half, teach(x_half, half), middle, then)
    ratio = then[1] / now[1]  # one step: x_s = alpha_s x0 + ratio (x_t - alpha_t x0)
    wanted = (x_s - ratio * x_t) / (then[0] - ratio * now[0])
    student = objective.denoiser(given, params, context, drawn['dropout_keys'])(x_t, t)
    return objective.x0_error(given, 'progressive_distillation', student, wanted, t,
                              drawn['importance'])
  teacher = Part(lambda key, params: jax.tree.map(jnp.copy, params))
  return Objective(functools.partial(objective.draw_inputs, given), loss,
                   {'teacher': teacher})
