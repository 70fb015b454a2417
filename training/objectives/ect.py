"""Easy consistency tuning: from a diffusion to a consistency model, by degrees."""
import functools

import jax
import jax.numpy as jnp

from diffusion import specs
from training.objectives import consistency_pairs, objective
from training.objectives.objective import Given, Objective


def earlier(sigma, stage, q: float, k: float, b: float):
  """The level before `sigma`: arXiv:2406.14548 eq. 20, 0 at the least."""
  n = 1 + k * jax.nn.sigmoid(-b * sigma)
  return sigma * jnp.maximum(1 - n / q**stage, 0.0)


def ect(given: Given, *, q: float = 2.0, k: float = 8.0, b: float = 1.0,
        stages: int = 8, huber: float = 0.0) -> Objective:
  """arXiv:2406.14548 section 3; drawn from with solver lcm.

  A diffusion model (config.init_from) is one of the first stage, in which the level
  before any is 0, the picture. Stage a, each an equal part of the run, brings the two
  levels, sigma / alpha, to the ratio 1 - n / q^a with n = 1 + k sigmoid(-b sigma).
  The distance is not squared, and counts one over the difference of the levels.

  huber: where the distance turns from a square to linear; 0 for nowhere.
  """
  specs.require(lambda q: q > 1, 'it must be above 1', q=q)
  specs.not_negative(k=k, b=b, huber=huber)
  specs.require(lambda n: n >= 1, 'it must be 1 or more', stages=stages)
  def loss(params, ema, batch, drawn):
    t = jnp.minimum(drawn['t'], given.process.t_max)
    stage = jnp.floor(drawn['progress'] * stages) + 1
    sigma = consistency_pairs.sigma_at(given, t)
    before = earlier(sigma, stage, q, k, b)
    r = jnp.where(before > 0, consistency_pairs.time_at(given, before), 0.0)
    squares = consistency_pairs.distance(given, params, batch, drawn, t, r)
    each = consistency_pairs.pseudo_huber(squares, huber) / (sigma - before)
    each = each * drawn['importance']
    return {'ect': each}, {'t': t, 'loss': each}
  return Objective(functools.partial(objective.draw_inputs, given), loss)
