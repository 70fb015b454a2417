"""No state, up to two evaluations a step."""
import math

import jax
import jax.numpy as jnp

from diffusion import posterior, specs
from diffusion.posterior import eps_in, transfer, velocity
from diffusion.schedules import log_snr, time_from_log_snr
from diffusion.solvers.solver import Solver, stateless


def euler(schedule) -> Solver:
  """Euler's method in t. On the flow schedule it is DDIM."""
  def step(denoise, x, x0, t, s, keys):
    return x + (s - t) * velocity(schedule, x, x0, t)
  return stateless(step)


def heun(schedule, *, of_ratio: bool = False) -> Solver:
  """Heun's second order in t, the last step by Euler: arXiv:2206.00364 alg. 1.

  of_ratio: in sigma / alpha, as k-diffusion, where the slope of x / alpha is eps.
  """
  def step(denoise, x, x0, t, s, keys):
    now, then = schedule(t), schedule(s)
    slope = velocity(schedule, x, x0, t)
    guess = transfer(x, x0, now, then) if of_ratio else x + (s - t) * slope
    def corrected():
      if of_ratio:
        change = eps_in(guess, denoise(guess, s), then) - eps_in(x, x0, now)
        return guess + ratio_step(now, then) * change / 2
      ahead = velocity(schedule, guess, denoise(guess, s), s)
      return x + (s - t) * (slope + ahead) / 2
    return jax.lax.cond(s > 0, corrected, lambda: guess)
  return stateless(step)


def ratio_step(now, then):
  """By how much a step moves x for each change of eps along it: alpha_s times the
  change of sigma / alpha; 0 where that is infinite."""
  return jnp.where(now[0] > 0, then[1] - then[0] * now[1] / now[0], 0.0)


def dpm2(schedule, *, eta: float = 0.0) -> Solver:
  """DPM-Solver-2 as in k-diffusion: by the slope half way in log(sigma / alpha).

  A step to or from an infinite one is by Euler. eta > 0 goes further and adds noise, as
  DDIM does: "DPM2 a".
  """
  specs.not_negative(eta=eta)
  def step(denoise, x, x0, t, s, keys):
    now, then = schedule(t), schedule(s)
    noise_std = posterior.posterior_std(now, then, eta)
    down = then[0], posterior.kept_std(then[1], noise_std)
    middle = sum(jnp.log(alpha) - jnp.log(sigma) for alpha, sigma in (now, down))
    guess = transfer(x, x0, now, down)
    def half_way():
      at = time_from_log_snr(schedule, middle)
      there = transfer(x, x0, now, schedule(at))
      change = eps_in(there, denoise(there, at), schedule(at)) - eps_in(x, x0, now)
      return guess + ratio_step(now, down) * change
    x = jax.lax.cond(jnp.isfinite(middle), half_way, lambda: guess)
    return x if noise_std is None else x + noise_std * posterior.noise_like(keys, x)
  return stateless(step, stochastic=eta > 0)


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
