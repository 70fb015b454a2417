"""Improved consistency training: ever more levels, no average, a robust distance."""
import functools
import math

import jax.numpy as jnp

from diffusion import specs
from training.objectives import consistency_pairs, objective
from training.objectives.objective import Given, Objective

SIGMAS, RHO = (0.002, 80.0), 7.0  # arXiv:2206.00364 eq. 5


def levels(count, i):
  """Level i of 0 to count - 1, upwards, as Karras et al. space them: f32[b]."""
  low, high = (sigma ** (1 / RHO) for sigma in SIGMAS)
  return (low + i / (count - 1) * (high - low)) ** RHO


def count_at(progress, start: int, end: int):
  """How many levels there are: arXiv:2310.14189 section 3.4, f32[b].

  start, twice that, ... up to end, each for the same part of the run, plus one.
  """
  doublings = math.log2(end / start)
  done = jnp.floor(progress * (math.floor(doublings) + 1))
  return jnp.minimum(start * 2.0**done, end) + 1


def ict(given: Given, *, start: int = 10, end: int = 1280,
        huber: float = 0.00054) -> Objective:
  """Improved consistency training, arXiv:2310.14189; drawn from with solver lcm.

  What the network takes for x0 at a level is to be what it takes for it at the next
  lower one; at the lowest that is the picture. Levels are sigma / alpha; a picture has
  the one above the time that config.diffusion.time_sampling gives (there
  log_normal(mean=-1.1, std=2.0)). The distance is Pseudo-Huber's and counts one over
  the difference of the two levels.

  start, end: levels at the beginning and at the end, but one. huber: where the distance
  turns from a square to linear, in units of the root of a picture's numbers.
  """
  specs.require(lambda n: n >= 2, 'it must be 2 or more', start=start)
  specs.require(lambda n: n >= start, f'it must be start={start} or more', end=end)
  specs.above_zero(huber=huber)
  def loss(params, ema, batch, drawn):
    count = count_at(drawn['progress'], start, end)
    sigma = jnp.clip(consistency_pairs.sigma_at(given, drawn['t']), *SIGMAS)
    low, high = (side ** (1 / RHO) for side in SIGMAS)
    place = (sigma ** (1 / RHO) - low) / (high - low) * (count - 1)
    i = jnp.clip(jnp.floor(place), 0, count - 2)
    after, before = levels(count, i + 1), levels(count, i)
    t, r = (consistency_pairs.time_at(given, level) for level in (after, before))
    r = jnp.where(i > 0, r, 0.0)
    squares = consistency_pairs.distance(given, params, batch, drawn, t, r)
    far = consistency_pairs.pseudo_huber(squares, huber * math.sqrt(
        math.prod(drawn['eps'].shape[1:])))
    each = far / (after - before) * drawn['importance']
    return {'ict': each}, {'t': t, 'loss': each}
  return Objective(functools.partial(objective.draw_inputs, given), loss)
