"""Guidance distillation: one evaluation that does what guidance takes two for."""
import jax
import jax.numpy as jnp

from training.objectives import objective
from training.objectives.objective import Given, Objective, Part


def guidance_distillation(given: Given, *, low: float = 1.0,
                          high: float = 6.0) -> Objective:
  """Stage one of arXiv:2210.03142, eq. 3: a student that is told the scale of guidance.

  The teacher is a part of the parameters of its own that stays as it is, read by the
  row ('teacher', folder) of config.init_from. The student is what pictures are drawn
  with: it has config.model.scalars=('guidance',), and may start from the teacher's
  weights. The scale is drawn uniformly between low and high.
  """
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
    scale, t = drawn['guidance'], drawn['t']
    x0, context = objective.read_batch(given, params, batch, drawn, drop=False)
    x_t = given.process.add_noise(x0, drawn['eps'], t)
    guided = objective.guided_teacher(given, params['teacher'], batch, drawn, scale)
    student = objective.denoiser(given, params, context, drawn['dropout_keys'],
                                 guidance=scale)(x_t, t)
    return objective.x0_error(given, 'guidance_distillation', student, guided(x_t, t),
                              t, drawn['importance'])
  teacher = Part(lambda key, params: jax.tree.map(jnp.copy, params))
  return Objective(draw, loss, {'teacher': teacher}, ('guidance',))
