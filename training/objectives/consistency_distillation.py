"""Latent consistency distillation: a teacher's ODE, its guidance an input."""
import jax
import jax.numpy as jnp

from diffusion import posterior, process, specs
from training.objectives import objective
from training.objectives.objective import Given, Objective, Part


def consistency_distillation(given: Given, *, steps: int = 50, low: float = 2.0,
                             high: float = 8.0) -> Objective:
  """LCM, arXiv:2310.04378 alg. 1; drawn from with solver lcm, in 1 to 8 steps.

  What the student takes for x0 at the time t = i / steps is to be what its average
  takes for it where one guided step of DDIM by the teacher leads, at (i - 1) / steps,
  or, at 0, that itself. The student is told the scale, drawn uniformly between low
  and high: config.model.scalars=('guidance',). The teacher is a part of the parameters
  that stays as it is, read by the row ('teacher', folder) of config.init_from.
  """
  specs.require(lambda n: n >= 1, 'it must be 1 or more', steps=steps)
  if not 0 <= low <= high:
    raise ValueError(f'low is {low} and high {high}; they must be in order, from 0 on.')
  if 'guidance' not in given.module.scalars:
    raise ValueError("the network is not told the scale of guidance: it takes "
                     "config.model.scalars=('guidance',).")
  def draw(key, shape, *rest):
    scale = jax.random.uniform(jax.random.fold_in(key, 1), shape[:1],
                               minval=low, maxval=high)
    return objective.draw_inputs(given, key, shape, *rest) | {'guidance': scale}

  def loss(params, ema, batch, drawn):
    scale = drawn['guidance']
    i = jnp.clip(jnp.ceil(drawn['t'] * steps), 1, steps)
    t, s = jnp.minimum(i / steps, given.process.t_max), (i - 1) / steps
    x0 = objective.read_batch(given, params, batch, drawn, drop=False)[0]
    x_t = given.process.add_noise(x0, drawn['eps'], t)
    now, then = ([process.append_dims(side, x0) for side in given.process.schedule(at)]
                 for at in (t, s))
    x_s = posterior.transfer(x_t, objective.guided_teacher(
        given, params['teacher'], batch, drawn, scale)(x_t, t), now, then)
    def student(params, x, t):
      context = objective.read_batch(given, params, batch, drawn, drop=False)[1]
      return objective.denoiser(given, params, context, drawn['dropout_keys'],
                                guidance=scale)(x, t)
    wanted = jnp.where(process.append_dims(i > 1, x0),
                       student(ema, x_s, jnp.maximum(s, 0.5 / steps)), x_s)
    return objective.x0_error(given, 'consistency_distillation',
                              student(params, x_t, t), wanted, t, drawn['importance'])
  teacher = Part(lambda key, params: jax.tree.map(jnp.copy, params))
  return Objective(draw, loss, {'teacher': teacher}, ('guidance',))
