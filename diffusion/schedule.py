"""Noise schedules: how much picture and how much noise there is at each time.

A schedule maps times t in [0, 1] (0 is data, 1 is noise), f32[b] or f32[], to
(alpha, sigma) of the same shape, so that x_t = alpha x0 + sigma eps.
"""
import jax.numpy as jnp


def linear(t):
  """Variance preserving with a linear beta from 0.1 to 20.

  DDPM (arXiv:2006.11239) in continuous time: arXiv:2011.13456 eq. 33. A little of the
  picture is left at t = 1: alpha is 0.0066.
  """
  log_alpha = -0.25 * t**2 * (20.0 - 0.1) - 0.5 * t * 0.1
  return jnp.exp(log_alpha), jnp.sqrt(-jnp.expm1(2 * log_alpha))


def cosine(t):
  """arXiv:2102.09672 eq. 17 with s = 0, which leaves no picture at t = 1.

  Written with sines only: float32 cos(pi / 2) is -4e-8, and its logarithm NaN.
  """
  return jnp.sin(jnp.pi / 2 * (1 - t)), jnp.sin(jnp.pi / 2 * t)


def flow(t):
  """Straight lines from picture to noise: rectified flow, arXiv:2209.03003 eq. 1."""
  return 1 - t, jnp.asarray(t)


SCHEDULES = {'linear': linear, 'cosine': cosine, 'flow': flow}


def log_snr(schedule, t):
  """log(alpha^2 / sigma^2); infinite where either is zero."""
  alpha, sigma = schedule(t)
  return 2 * (jnp.log(alpha) - jnp.log(sigma))


def last_time(schedule, target: str) -> float:
  """The largest time at which a network with this target says what x0 is.

  At alpha = 0 the noise says nothing of the picture, so a network that predicts noise
  starts a little before; for every other target, and where alpha > 0, it is 1.
  """
  return 1.0 if target != 'eps' or float(schedule(jnp.float32(1))[0]) > 0 else 0.996
