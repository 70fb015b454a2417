"""Denoising, with the inner representations of a batch kept apart."""
import functools

import jax.numpy as jnp

from diffusion import specs
from training.objectives import objective
from training.objectives.denoising import weighted_terms
from training.objectives.objective import Given, Objective


def dispersive(given: Given, *, weight: float = 0.5, block: int = 0,
               temperature: float = 0.5) -> Objective:
  """The dispersive loss beside the denoising one: arXiv:2506.09027 eq. 6.

      log mean_ij exp(-|z_i - z_j|^2 / temperature)

  z_i are the tokens of picture i after a block, the distance a mean over their numbers.
  Every part of an accumulated batch is dispersed by itself. weight: of this term.
  block: index of the block, from 0.
  """
  if weight < 0 or temperature <= 0:
    raise ValueError(f'weight is {weight} and temperature {temperature}; they must be '
                     '0 or more, and above 0.')
  n = given.module.num_taps
  specs.require(lambda i: 0 <= i < n, f'this config.model can give the outputs of {n} '
                'blocks', block=block)
  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    both = objective.predictor(given, params, context, drawn['dropout_keys'], (block,))
    t = drawn['t']
    pred, tapped = both(given.process.add_noise(x0, drawn['eps'], t), t)
    terms, seen = weighted_terms(given, params, lambda x, t: pred, x0, drawn)
    z = tapped[block].astype(jnp.float32).reshape(len(x0), -1)
    distance = jnp.square(z[:, None] - z).mean(-1)
    terms['dispersive'] = weight * jnp.log(jnp.exp(-distance / temperature).mean())
    return terms, seen
  return Objective(functools.partial(objective.draw_inputs, given), loss, across=True)
