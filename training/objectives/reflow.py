"""Reflow: straight paths between noise and where a teacher takes it."""
import functools

import jax
import jax.numpy as jnp

from diffusion import posterior, process, specs
from training.objectives import objective
from training.objectives.denoising import weighted_terms
from training.objectives.objective import Given, Objective, Part


def reflow(given: Given, *, steps: int = 16, guidance: float = 1.0) -> Objective:
  """arXiv:2209.03003 section 2.2: the pairs are those that the teacher's ODE couples.

  The picture of each noise is where the teacher takes it in `steps` steps of DDIM from
  the noisiest time, at this scale of guidance, within the training step; those of the
  data are not looked at, their captions are. The teacher is a part of the parameters
  that stays as it is, read by the row ('teacher', folder) of config.init_from.
  """
  specs.require(lambda n: n >= 1, 'it must be 1 or more', steps=steps)
  specs.not_negative(guidance=guidance)
  def loss(params, ema, batch, drawn):
    x0_of = objective.guided_teacher(given, params['teacher'], batch, drawn,
                                     jnp.full(len(drawn['t']), guidance))
    times = jnp.linspace(given.process.t_max, 0.0, steps + 1)
    def step(x, pair):
      t, s = pair
      t = jnp.full(len(x), t)
      now, then = ([process.append_dims(side, x) for side in given.process.schedule(at)]
                   for at in (t, jnp.full(len(x), s)))
      return posterior.transfer(x, x0_of(x, t), now, then), None
    x_T = given.process.add_noise(jnp.zeros_like(drawn['eps']), drawn['eps'],
                                  jnp.full(len(drawn['t']), given.process.t_max))
    x0, _ = jax.lax.scan(step, x_T, (times[:-1], times[1:]))
    _, context = objective.read_batch(given, params, batch, drawn)
    predict = objective.predictor(given, params, context, drawn['dropout_keys'])
    return weighted_terms(given, params, predict, jax.lax.stop_gradient(x0), drawn)
  teacher = Part(lambda key, params: jax.tree.map(jnp.copy, params))
  return Objective(functools.partial(objective.draw_inputs, given), loss,
                   {'teacher': teacher})
