"""Likelihood by the probability-flow ODE: arXiv:2011.13456 section 4.3."""
import math

import jax
import jax.numpy as jnp

from diffusion import posterior


def slope_and_trace(denoise, schedule, x, t, probe):
  """dx/dt [b h w c] of the ODE, and Hutchinson's estimate f32[b] of its divergence.

  denoise: (x [b h w c], t f32[]) -> x0. probe: like x, of mean 0 and covariance 1:
  E[probe . J probe] is the trace of J.
  """
  def slope(x):
    return posterior.velocity(schedule, x, denoise(x, t), t)
  value, along = jax.jvp(slope, (x,), (probe,))
  return value, (along * probe).sum(tuple(range(1, x.ndim)))


def log_likelihood(denoise, schedule, x0, times, key):
  """log p of pictures, f32[b], in nats, for pictures as points of a density.

  Integrates upwards with Heun's method: log p_0(x_0) = log p_1(x_1) + int tr J dt, with
  the Gaussian of the last time as p_1.

  denoise: (x, t) -> x0. x0: [b h w c] at times[0], which counts as data. times:
  f32[n + 1], increasing, from a little above 0. key: of the probe, one of +-1 for all
  steps.
  """
  probe = jax.random.rademacher(key, x0.shape, x0.dtype)
  field = lambda x, t: slope_and_trace(denoise, schedule, x, t, probe)
  def step(carry, pair):
    (x, total), (t, s) = carry, pair
    slope, trace = field(x, t)
    ahead, trace_ahead = field(x + (s - t) * slope, s)
    return (x + (s - t) * (slope + ahead) / 2,
            total + (s - t) * (trace + trace_ahead) / 2), None
  start = schedule(times[0])[0] * x0, jnp.zeros(len(x0))
  (x, total), _ = jax.lax.scan(step, start, (times[:-1], times[1:]))
  alpha, sigma = schedule(times[-1])
  std = jnp.sqrt(alpha**2 + sigma**2)
  prior = -0.5 * ((x / std) ** 2 + jnp.log(2 * jnp.pi * std**2))
  return prior.sum(tuple(range(1, x.ndim))) + total


def bits_per_dim(log_p, shape, levels: int = 256):
  """Bits a dimension of pictures of `levels` values, brought to [-1, 1].

  log_p: f32[b], in nats, of pictures [h w c] = shape with uniform noise of one level
  added (arXiv:1511.01844 eq. 3), which makes it a lower bound on theirs.
  """
  dims = math.prod(shape)
  return -log_p / (dims * math.log(2)) + math.log2(levels / 2)
