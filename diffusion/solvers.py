"""Solvers: from noise towards the picture, one step at a time.

A solver is a pair of pure functions: `init(x) -> state` and
`step(denoise, x, state, t, s, keys) -> (x, state)`, which moves x [b h w c] from time
t to the earlier time s (f32[]); `denoise(x, t)` is the expected picture x0, `keys` [b]
has one key a picture. None evaluates `denoise` at s = 0.
"""
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion import process
from diffusion.schedule import log_snr


class Solver(NamedTuple):
  init: Callable[[Any], Any]
  step: Callable[..., Any]


def stateless(step):
  """A solver without memory, from (denoise, x, t, s, keys) -> x."""
  return Solver(lambda x: (), lambda denoise, x, state, *rest: (
      step(denoise, x, *rest), state))


def gaussian(keys, x):
  """Standard normal noise like x [b ...], each picture's from its own key."""
  return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)


def transfer(x, x0, now, then):
  """Keeps x0 and its noise, and changes their shares: arXiv:2010.02502 eq. 12.

  Args:
    x, x0: [b h w c]. now, then: (alpha, sigma), each f32[].
  """
  return process.add_noise(x0, process.to_eps(x0, x, *now), *then)


def ddim(schedule, eta: float = 0.0):
  """DDIM, arXiv:2010.02502 eq. 12 and 16. eta 0 is deterministic, 1 is DDPM."""
  def step(denoise, x, t, s, keys):
    (alpha, sigma), (alpha_s, sigma_s) = schedule(t), schedule(s)
    x0 = denoise(x, t)
    # Variance of the true posterior of x_s given x_t and x0.
    kept = alpha * sigma_s / (alpha_s * sigma)
    fresh = eta * sigma_s * jnp.sqrt(jnp.maximum(1 - kept**2, 0.0))
    old = jnp.sqrt(jnp.maximum(sigma_s**2 - fresh**2, 0.0))
    x = transfer(x, x0, (alpha, sigma), (alpha_s, old))
    return x + fresh * gaussian(keys, x) if eta else x
  return stateless(step)


def ddpm(schedule):
  """Ancestral sampling, arXiv:2006.11239 alg. 2 with the posterior's variance."""
  return ddim(schedule, eta=1.0)


def velocity(schedule, x, x0, t):
  """dx/dt of the probability-flow ODE: alpha' x0 + sigma' eps."""
  (alpha, sigma), (d_alpha, d_sigma) = jax.jvp(schedule, (t,), (jnp.ones_like(t),))
  return d_alpha * x0 + d_sigma * process.to_eps(x0, x, alpha, sigma)


def euler(schedule):
  """Euler's method in t. On the flow schedule it is DDIM."""
  def step(denoise, x, t, s, keys):
    del keys
    return x + (s - t) * velocity(schedule, x, denoise(x, t), t)
  return stateless(step)


def heun(schedule):
  """Heun's second order in t, the last step by Euler: arXiv:2206.00364 alg. 1."""
  def step(denoise, x, t, s, keys):
    del keys
    slope = velocity(schedule, x, denoise(x, t), t)
    guess = x + (s - t) * slope
    def corrected(_):
      ahead = velocity(schedule, guess, denoise(guess, s), s)
      return x + (s - t) * (slope + ahead) / 2
    return jax.lax.cond(s > 0, corrected, lambda _: guess, None)
  return stateless(step)


def dpmpp_2m(schedule):
  """DPM-Solver++(2M), arXiv:2211.01095 alg. 2. One evaluation a step."""
  def step(denoise, x, state, t, s, keys):
    del keys
    last, h_last = state
    h = (log_snr(schedule, s) - log_snr(schedule, t)) / 2
    x0 = denoise(x, t)
    w = jnp.where(jnp.isfinite(h), h / (2 * h_last), 0.0)  # first order at both ends
    ahead = x0 + w * (x0 - last)
    return transfer(x, ahead, schedule(t), schedule(s)), (x0, h)
  return Solver(lambda x: (jnp.zeros_like(x), jnp.full((), jnp.inf, x.dtype)), step)


SOLVERS = {
    'ddpm': ddpm, 'ddim': ddim, 'euler': euler, 'heun': heun, 'dpmpp_2m': dpmpp_2m}
