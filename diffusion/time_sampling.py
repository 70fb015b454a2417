"""Densities of the time at which a training picture is noised.

A density is its quantile function: uniform u in (0, 1) -> t in [0, 1]. It follows that
any density can be stratified (the i-th of b pictures draws its u from the i-th of b
equal slices, which takes most of the noise out of the mean loss), and that the chance
of a time is one derivative away: p(t) = du / dt.
"""
import functools

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from diffusion import schedules, specs

BINS = 64  # equal parts of [0, 1] in which losses are followed

uniform = lambda: lambda u: u
# The log-SNR density of `cosine` on flow's path: arXiv:2403.03206 eq. 21.
cosmap = lambda: lambda u: 1 - 1 / (jnp.tan(jnp.pi / 2 * u) + 1)


def logit_normal(mean: float = 0.0, std: float = 1.0):
  """logit(t) is normal: Stable Diffusion 3, arXiv:2403.03206 eq. 19.

  A resolution shift by m (eq. 23 there) adds log(m) to `mean`.
  """
  specs.between(-50, 50, mean=mean)
  specs.between(0.001, 50, std=std)
  return lambda u: jax.nn.sigmoid(mean + std * ndtri(u))


def mode(scale: float = 1.29):
  """More of the middle (scale > 0) or of the ends: arXiv:2403.03206 eq. 20.

  scale: from -1 to 2 / (pi - 2) = 1.75, where the map stops being monotonic.
  """
  specs.require(lambda scale: -1 <= scale <= 2 / (jnp.pi - 2),
                f'mode takes -1 to {2 / (jnp.pi - 2):.2f}', scale=scale)
  return lambda u: u - scale * (jnp.sin(jnp.pi / 2 * u) ** 2 - u)


def log_normal(schedule, mean: float = -1.2, std: float = 1.2):
  """log(sigma / alpha) is normal: arXiv:2206.00364 table 1."""
  specs.between(-50, 50, mean=mean)
  specs.between(0.001, 50, std=std)
  return lambda u: schedules.time_from_log_snr(schedule, -2 * (mean + std * ndtri(u)))


def adaptive(loss_ema, floor: float = 0.05):
  """Times in proportion to the root mean square loss there: arXiv:2102.09672 eq. 18.

  loss_ema: f32[BINS], running mean of the squared loss in each part of [0, 1]. floor:
  share of the draws that stays uniform.
  """
  specs.between(0, 1, floor=floor)
  mass = jnp.sqrt(loss_ema)
  mass = floor / BINS + (1 - floor) * mass / mass.sum()
  edges = jnp.concatenate([jnp.zeros(1), jnp.cumsum(mass)])
  return lambda u: jnp.interp(u * edges[-1], edges, jnp.linspace(0, 1, BINS + 1))


DENSITIES = {  # options -> quantile function; rows may need schedule and loss_ema
    'uniform': uniform, 'logit_normal': logit_normal, 'mode': mode, 'cosmap': cosmap,
    'log_normal': log_normal, 'adaptive': adaptive}


LOSS_OVER = {  # what a mean loss is taken over: () or (schedule) -> measure of `draw`
    'draw': lambda: None, 'time': lambda: lambda t: t,
    'log_snr': lambda schedule: functools.partial(schedules.log_snr, schedule)}


def observe(loss_ema, t, losses, decay: float = 0.99):
  """Moves loss_ema f32[BINS] of `adaptive` towards the losses f32[b] at t f32[b].

  Parts that saw no picture stay as they are.
  """
  part = jax.nn.one_hot(jnp.clip(t * BINS, 0, BINS - 1).astype(int), BINS)  # [b BINS]
  count = part.sum(0)
  mean = (jnp.square(losses)[:, None] * part).sum(0) / jnp.maximum(count, 1)
  return jnp.where(count > 0, decay * loss_ema + (1 - decay) * mean, loss_ema)


def draw(quantile, key, n: int, *, stratified: bool = True, num_steps: int = 0,
         measure=None):
  """Draws n times and what each counts.

  Args:
    quantile: a density.
    num_steps: draw from t = 1 / num_steps, ..., 1 only, as models trained at so many
      discrete steps; 0 draws any time.
    measure: t -> m(t), monotonic. A loss times the importance |dm / du| estimates the
      integral over m whatever the density: t itself makes it the mean over uniform
      times, log_snr the integral of arXiv:2303.00848. None counts each draw alike.

  Returns (t f32[n] in [1e-5, 1 - 1e-5], or up to 1 if discrete; importance f32[n]).
  """
  u = jax.random.uniform(key, (n,))
  if stratified:
    u = (u + jnp.arange(n)) / n
  u = jnp.clip(u, 1e-6, 1 - 1e-6)
  t, importance = quantile(u), jnp.ones(n)
  if measure:
    of_u = lambda u: measure(jnp.clip(quantile(u), 1e-5, 1 - 1e-5))
    importance = jnp.abs(jax.jvp(of_u, (u,), (jnp.ones(n),))[1])
  if num_steps:
    return jnp.maximum(jnp.ceil(t * num_steps), 1) / num_steps, importance
  return jnp.clip(t, 1e-5, 1 - 1e-5), importance
