"""Two noise levels of one picture and noise, for consistency training."""
import jax
import jax.numpy as jnp

from diffusion import process, schedules
from training.objectives import objective
from training.objectives.objective import Given


def sigma_at(given: Given, t):
  """sigma / alpha at t, f32[b]."""
  return jnp.exp(-schedules.log_snr(given.process.schedule, t) / 2)


def time_at(given: Given, sigma):
  """t, f32[b], at which sigma / alpha is that; 1 at most."""
  log_snr = -2 * jnp.log(jnp.maximum(sigma, 1e-6))
  return jnp.clip(schedules.time_from_log_snr(given.process.schedule, log_snr), 0.0,
                  given.process.t_max)


def distance(given: Given, params, batch, drawn, t, r):
  """Squared distances f32[b], sums over a picture, of x0 at t and at an earlier r.

  Both are of the same network, picture, noise and dropout; no gradient is taken at r,
  and at r = 0 the picture itself stands there.
  """
  x0, context = objective.read_batch(given, params, batch, drawn)
  denoise = objective.denoiser(given, params, context, drawn['dropout_keys'])
  def x0_of(t):
    return denoise(given.process.add_noise(x0, drawn['eps'], t), t)
  before = x0_of(jnp.where(r > 0, r, t))
  wanted = jax.lax.stop_gradient(
      jnp.where(process.append_dims(r > 0, x0), before, x0))
  return jnp.square(x0_of(t) - wanted).sum(tuple(range(1, x0.ndim)))


def pseudo_huber(squares, size: float):
  """sqrt(|.|^2 + size^2) - size of squared distances f32[b]; finite slopes at 0."""
  size = jnp.maximum(size, 1e-6)
  return squares / (jnp.sqrt(squares + size**2) + size)
