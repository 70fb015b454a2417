"""No state, up to two evaluations a step."""
import math

import jax
import jax.numpy as jnp

from diffusion import posterior, specs
from diffusion.posterior import transfer, velocity
from diffusion.schedules import log_snr, time_from_log_snr
from diffusion.solvers.solver import Solver, stateless


def euler(schedule) -> Solver:
  """Euler's method in t. On the flow schedule it is DDIM."""
  def step(denoise, x, x0, t, s, keys):
    return x + (s - t) * velocity(schedule, x, x0, t)
  return stateless(step)


def heun(schedule) -> Solver:
  """Heun's second order in t, the last step by Euler: arXiv:2206.00364 alg. 1."""
  def step(denoise, x, x0, t, s, keys):
    slope = velocity(schedule, x, x0, t)
    guess = x + (s - t) * slope
    def corrected():
      ahead = velocity(schedule, guess, denoise(guess, s), s)
      return x + (s - t) * (slope + ahead) / 2
    return jax.lax.cond(s > 0, corrected, lambda: guess)
  return stateless(step)


def edm(schedule, *, churn: float = 0.15, low: float = 0.05, high: float = 50.0,
        noise: float = 1.003) -> Solver:
  """Heun's method after a step back into noise: arXiv:2206.00364 alg. 2.

  Args:
    churn: gamma there, by which sigma / alpha grows; S_churn / steps, and at most
      sqrt(2) - 1. At t = 1 there is no way back. 0 is `heun`.
    low, high: S_min, S_max: where sigma / alpha is between them.
    noise: S_noise, standard deviation of the noise that is added.
  """
  specs.not_negative(churn=churn, low=low, high=high, noise=noise)
  growth = 2 * math.log1p(min(churn, math.sqrt(2) - 1))  # of -log-SNR

  def perturb(x, t, keys):
    alpha, sigma = now = schedule(t)
    inside = (low * alpha <= sigma) & (sigma <= high * alpha)
    back = time_from_log_snr(schedule, log_snr(schedule, t) - growth)
    back = jnp.where(inside, jnp.maximum(back, t), t)
    return posterior.renoise(x, now, schedule(back), keys, noise), back
  if not churn:
    return heun(schedule)
  return heun(schedule)._replace(perturb=perturb, stochastic=True)


def dpmpp_2s(schedule, *, eta: float = 0.0) -> Solver:
  """DPM-Solver++(2S), arXiv:2211.01095 alg. 1 with r = 1/2: x0 of the middle of a step.

  A step that starts or ends at an infinite log-SNR is of first order. eta > 0 goes
  further and adds noise, as DDIM does: "2S ancestral".
  """
  specs.not_negative(eta=eta)
  def step(denoise, x, x0, t, s, keys):
    now, then = schedule(t), schedule(s)
    noise_std = posterior.posterior_std(now, then, eta)
    down = posterior.kept_std(then[1], noise_std)
    # The log-SNR half way is the sum of half of it at either end.
    middle = jnp.log(now[0]) - jnp.log(now[1]) + jnp.log(then[0]) - jnp.log(down)
    def ahead():
      at = time_from_log_snr(schedule, middle)
      return denoise(transfer(x, x0, now, schedule(at)), at)
    halfway = jax.lax.cond(jnp.isfinite(middle), ahead, lambda: x0)
    return transfer(x, halfway, now, then, noise_std, keys)
  return stateless(step, stochastic=eta > 0)
