"""Timesteps: the times at which a sampler calls its network.

A row of TIMESTEPS gives decreasing times [steps], of which the last is above 0;
`complete` appends 0. Each may need the schedule, the number of steps and t_max, the
largest time that it may give: `process.t_max` of what the network predicts.
"""
import math

import jax.numpy as jnp
import numpy as np

from diffusion import specs
from diffusion.schedules import log_snr, time_from_log_snr


def linear(steps: int, t_max: float):
  """Uniform in t."""
  return np.linspace(t_max, 0, steps + 1)[:-1]


def shifted(steps: int, t_max: float, *, shift: float = 3.0, end: float = 0.0):
  """Stable Diffusion 3's, arXiv:2403.03206 eq. 23: t' = m t / (1 + (m - 1) t).

  shift: m. end: t of the last evaluation; 0: uniform down to the picture. The released
  models are drawn with that to which the shift moves 0.001.
  """
  specs.above_zero(shift=shift)
  specs.between(0, 1, end=end)
  t = np.linspace(1, end, steps) if end else np.linspace(1, 0, steps + 1)[:-1]
  return t_max * shift * t / (1 + (shift - 1) * t)


def flux(steps: int, t_max: float, *, tokens: int = 4096):
  """Flux's: the logarithm of the shift is linear in the number of image tokens, 0.5 at
  256 and 1.15 at 4096, as in black-forest-labs/flux."""
  specs.above_zero(tokens=tokens)
  mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
  return shifted(steps, t_max, shift=math.exp(mu))


def at_ratios(schedule, ratio):
  """Times at which sigma / alpha has these values, f64[n]."""
  log_snrs = jnp.float32(-2 * np.log(ratio))
  return np.asarray(time_from_log_snr(schedule, log_snrs), np.float64)


def between_ratios(schedule, t_max: float, low: float, high: float, space):
  """`at_ratios` of space(high, low); high = 0: what the schedule has at t_max."""
  specs.above_zero(sigma_min=low)
  specs.not_negative(sigma_max=high)
  most = float(np.exp(-0.5 * log_snr(schedule, jnp.float32(t_max))))
  high = high or (most if math.isfinite(most) else 80.0)
  return at_ratios(schedule, space(min(high, most), low))


def karras(schedule, steps: int, t_max: float, *, rho: float = 7.0,
           sigma_min: float = 0.002, sigma_max: float = 0.0):
  """Uniform in (sigma / alpha)^(1 / rho): arXiv:2206.00364 eq. 5.

  sigma_min, sigma_max: of sigma / alpha. sigma_max = 0 is what the schedule has at
  t_max, or 80 where that is infinite. A network that was trained at discrete steps has
  nothing below its first: 0.0292 for Stable Diffusion.
  """
  specs.between(0.1, 100, rho=rho)
  def space(high, low):
    return np.linspace(high**(1 / rho), low**(1 / rho), steps)**rho
  return between_ratios(schedule, t_max, sigma_min, sigma_max, space)


def exponential(schedule, steps: int, t_max: float, *, sigma_min: float = 0.002,
                sigma_max: float = 0.0):
  """Uniform in log(sigma / alpha), between the same ends as `karras`."""
  return between_ratios(schedule, t_max, sigma_min, sigma_max,
                        lambda high, low: np.geomspace(high, low, steps))


def indexed(index, trained: int, t_max: float):
  """Times of the steps of a network trained at 0 .. trained - 1."""
  specs.above_zero(trained=trained)
  return np.minimum((index + 1) / trained, t_max)


def trailing(steps: int, t_max: float, *, trained: int = 1000):
  """From the last of the trained steps downwards: arXiv:2305.08891 table 2."""
  index = np.round(np.arange(steps, 0, -1) * (trained / steps)) - 1
  return indexed(index, trained, t_max)


def leading(steps: int, t_max: float, *, trained: int = 1000, offset: int = 0,
            more: int = 0):
  """From the first of the trained steps upwards, as DDIM and Stable Diffusion.

  It never reaches the last: arXiv:2305.08891 table 2. Stable Diffusion has offset 1.
  more: how many steps it has first, of which the last ones are then left out;
  diffusers' DPM-Solver and UniPC have 1.
  """
  specs.not_negative(offset=offset, more=more)
  index = np.arange(more, steps + more)[::-1] * (trained // (steps + more)) + offset
  return indexed(index, trained, t_max)


def linspace(steps: int, t_max: float, *, trained: int = 1000, more: int = 0):
  """From the last to the first of the trained steps: arXiv:2305.08891 table 2."""
  specs.not_negative(more=more)
  index = np.round(np.linspace(trained - 1, 0, steps + more))[:steps]
  return indexed(index, trained, t_max)


def custom(schedule, steps: int, t_max: float, *, times=()):
  """Given times, as a search finds them: Align Your Steps, arXiv:2404.14507.

  For another number of steps log(sigma / alpha) is interpolated linearly. times:
  decreasing, in (0, 1].
  """
  times = np.minimum(np.asarray(times, np.float64), t_max)
  if len(times) == steps:
    return times
  ratio = -0.5 * np.asarray(log_snr(schedule, jnp.float32(times)), np.float64)
  if len(times) < 2 or not np.isfinite(ratio).all():
    raise ValueError('times needs two times or more, all above 0 and before the '
                     f'picture is gone, to be interpolated to {steps} steps.')
  at = np.linspace(0, len(times) - 1, steps)
  return at_ratios(schedule, np.exp(np.interp(at, np.arange(len(times)), ratio)))


TIMESTEPS = {  # (schedule, steps, t_max, **options), of which it needs -> f64[steps]
    'linear': linear, 'shifted': shifted, 'flux': flux, 'karras': karras,
    'exponential': exponential, 'trailing': trailing, 'leading': leading,
    'linspace': linspace, 'custom': custom}


def complete(times):
  """The times of a row of TIMESTEPS and 0, f32[steps + 1]. Not inside jit.

  Raises ValueError if they are not in (0, 1] or do not decrease; `trailing`, for one,
  has no 2000 steps of 1000.
  """
  times = np.append(times, 0.0).astype(np.float32)
  if not ((np.diff(times) < 0).all() and times[0] <= 1):
    raise ValueError(f'with {len(times) - 1} steps and these options its times do not '
                     'decrease from 1 to 0.')
  return jnp.asarray(times)
