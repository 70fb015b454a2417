"""What solvers are made of.

Written with (alpha, sigma), each f32[], at both ends of a step, so that any schedule
will do: `now` at its start, `then` at its end.
"""
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion.schedule import log_snr


class Solver(NamedTuple):
  init: Callable[[Any], Any]
  step: Callable[..., Any]


def stateless(step) -> Solver:
  """A solver without memory, from (denoise, x, t, s, keys) -> x."""
  return Solver(lambda x: (), lambda denoise, x, state, *rest: (
      step(denoise, x, *rest), state))


def gaussian(keys, x):
  """Standard normal noise like x [b ...], each picture's from its own key.

  All noise of all solvers comes from here.
  """
  return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)


def noise_in(x, x0, now):
  """eps in x = alpha x0 + sigma eps."""
  alpha, sigma = now
  return (x - alpha * x0) / sigma


def transfer(x, x0, now, then, fresh=None, keys=None):
  """Keeps x0 and its noise eps, and changes their shares: arXiv:2010.02502 eq. 12.

      x_s = alpha_s x0 + sqrt(sigma_s^2 - fresh^2) eps + fresh z

  The exact solution of the probability-flow ODE for an x0 that does not change along
  the step. `fresh` > 0 replaces some of the noise by new noise z.

  Args:
    x, x0: [b h w c].
    fresh: standard deviation of z, f32[] in [0, sigma_s]; None draws none.
  """
  x = then[0] * x0 + remaining(then[1], fresh) * noise_in(x, x0, now)
  return x if fresh is None else x + fresh * gaussian(keys, x)


def remaining(sigma, fresh):
  """Standard deviation of the noise that is kept: sqrt(sigma^2 - fresh^2)."""
  return sigma if fresh is None else jnp.sqrt(jnp.maximum(sigma**2 - fresh**2, 0.0))


def shrink(now, then):
  """(sigma / alpha at the end) / (sigma / alpha at the start), in [0, 1)."""
  (alpha, sigma), (alpha_s, sigma_s) = now, then
  return alpha * sigma_s / (alpha_s * sigma)


def ancestral(now, then, eta: float):
  """Standard deviation of DDIM's fresh noise: arXiv:2010.02502 eq. 16.

  With eta = 1 the whole step is the posterior of x_s given x_t and x0; 0 is None.
  """
  return eta * then[1] * jnp.sqrt(1 - shrink(now, then)**2) if eta else None


def largest(now, then):
  """Standard deviation of x_s given x_t where pictures are standard normal.

  The square root of beta where variance is preserved, as `ancestral` with eta = 1 is
  that of beta tilde, right where all pictures are one: arXiv:2006.11239 section 3.2.
  """
  # Noise of x_t that x_s lacks, times the share of it that x_t does not tell.
  lacking = now[1] * jnp.sqrt(1 - shrink(now, then)**2)
  return lacking * jnp.hypot(*then) / jnp.hypot(*now)


def velocity(schedule, x, x0, t):
  """dx/dt of the probability-flow ODE: alpha' x0 + sigma' eps."""
  now, (d_alpha, d_sigma) = jax.jvp(schedule, (t,), (jnp.ones_like(t),))
  return d_alpha * x0 + d_sigma * noise_in(x, x0, now)


def half_log_snr(schedule, t):
  """lambda = log(alpha / sigma), the clock of DPM-Solver, arXiv:2206.00927."""
  return log_snr(schedule, t) / 2
