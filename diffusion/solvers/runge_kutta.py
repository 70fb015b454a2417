"""No memory, up to two evaluations a step."""
import math

import jax
import jax.numpy as jnp

from diffusion.schedule import log_snr, time_of
from diffusion.solvers import steps
from diffusion.solvers.steps import Solver, stateless, transfer, velocity


def euler(schedule) -> Solver:
  """Euler's method in t. On the flow schedule it is DDIM."""
  def step(denoise, x, t, s, keys):
    del keys
    return x + (s - t) * velocity(schedule, x, denoise(x, t), t)
  return stateless(step)


def heun(schedule) -> Solver:
  """Heun's second order in t, the last step by Euler: arXiv:2206.00364 alg. 1."""
  def step(denoise, x, t, s, keys):
    del keys
    slope = velocity(schedule, x, denoise(x, t), t)
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
      sqrt(2) - 1. At t = 1 there is no way back.
    low, high: S_min, S_max: where sigma / alpha is between them.
    noise: S_noise, standard deviation of the noise that is added.
  """
  churn, second_order = min(churn, math.sqrt(2) - 1), heun(schedule)

  def step(denoise, x, t, s, keys):
    alpha, sigma = schedule(t)
    inside = (low * alpha <= sigma) & (sigma <= high * alpha)
    back = time_of(schedule, log_snr(schedule, t) - 2 * math.log1p(churn))
    back = jnp.where(inside, jnp.maximum(back, t), t)
    then = schedule(back)
    kept = jnp.where(back > t, then[0] / alpha, 1.0)
    added = jnp.sqrt(jnp.maximum(then[1]**2 - (kept * sigma)**2, 0.0))
    x = kept * x + noise * added * steps.gaussian(keys, x)
    return second_order.step(denoise, x, (), back, s, keys)[0]
  return stateless(step)


def dpmpp_2s(schedule, *, eta: float = 0.0) -> Solver:
  """DPM-Solver++(2S), arXiv:2211.01095 alg. 1 with r = 1/2: x0 of the middle of a step.

  A step that starts or ends at an infinite log-SNR is of first order. eta > 0 goes
  further and adds noise, as DDIM does: "2S ancestral".
  """
  def step(denoise, x, t, s, keys):
    now, then = schedule(t), schedule(s)
    fresh = steps.ancestral(now, then, eta)
    down = steps.remaining(then[1], fresh)
    # The log-SNR half way is the sum of half of it at either end.
    middle = jnp.log(now[0]) - jnp.log(now[1]) + jnp.log(then[0]) - jnp.log(down)
    x0 = denoise(x, t)
    def ahead():
      at = time_of(schedule, middle)
      return denoise(transfer(x, x0, now, schedule(at)), at)
    x0 = jax.lax.cond(jnp.isfinite(middle), ahead, lambda: x0)
    return transfer(x, x0, now, then, fresh, keys)
  return stateless(step)
