"""Step grids: the times at which a sampler calls its network.

A grid is made by (schedule, steps, **options) -> decreasing times [steps], of which the
last is above 0; `make` appends 0. Each takes `last`, the largest time that it may give:
`schedule.last_time` of what the network predicts.
"""
import math

import jax.numpy as jnp
import numpy as np

from diffusion.schedule import log_snr, time_of


def linear(schedule, steps: int, last: float):
  """Uniform in t."""
  del schedule
  return np.linspace(last, 0, steps + 1)[:-1]


def shifted(schedule, steps: int, last: float, *, shift: float = 3.0, end: float = 0.0):
  """Stable Diffusion 3's, arXiv:2403.03206 eq. 23: t' = m t / (1 + (m - 1) t).

  Args:
    shift: m.
    end: t of the last evaluation; 0: uniform down to the picture. The released models
      are drawn with that to which the shift moves 0.001.
  """
  del schedule
  t = np.linspace(1, end, steps) if end else np.linspace(1, 0, steps + 1)[:-1]
  return last * shift * t / (1 + (shift - 1) * t)


def flux(schedule, steps: int, last: float, *, tokens: int = 4096):
  """Flux's: the logarithm of the shift is linear in the number of image tokens.

  It is 0.5 at 256 tokens and 1.15 at 4096, as in black-forest-labs/flux.
  """
  mu = 0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)
  return shifted(schedule, steps, last, shift=math.exp(mu))


def ratios(schedule, last: float, low: float, high: float):
  """The least and the greatest sigma / alpha; high = 0: the schedule's at `last`."""
  most = float(np.exp(-0.5 * log_snr(schedule, jnp.float32(last))))
  if not high:
    high = most if math.isfinite(most) else 80.0
  return low, min(high, most)


def at_ratios(schedule, ratio):
  """Times at which sigma / alpha has these values, f64[n]."""
  return np.asarray(time_of(schedule, jnp.float32(-2 * np.log(ratio))), np.float64)


def karras(schedule, steps: int, last: float, *, rho: float = 7.0,
           sigma_min: float = 0.002, sigma_max: float = 0.0):
  """Uniform in (sigma / alpha)^(1 / rho): arXiv:2206.00364 eq. 5.

  Args:
    sigma_min, sigma_max: of sigma / alpha. sigma_max = 0 is what the schedule has at
      `last`, or 80 where that is infinite. A network that was trained at discrete
      steps has nothing below its first: 0.0292 for Stable Diffusion.
  """
  low, high = ratios(schedule, last, sigma_min, sigma_max)
  return at_ratios(
      schedule, np.linspace(high**(1 / rho), low**(1 / rho), steps)**rho)


def exponential(schedule, steps: int, last: float, *, sigma_min: float = 0.002,
                sigma_max: float = 0.0):
  """Uniform in log(sigma / alpha), between the same ends as `karras`."""
  low, high = ratios(schedule, last, sigma_min, sigma_max)
  return at_ratios(schedule, np.geomspace(high, low, steps))


def indexed(index, trained: int, last: float):
  """Times of the steps of a network trained at 0 .. trained - 1."""
  return np.minimum((index + 1) / trained, last)


def trailing(schedule, steps: int, last: float, *, trained: int = 1000):
  """From the last of the trained steps downwards: arXiv:2305.08891 table 2."""
  del schedule
  index = np.round(np.arange(steps, 0, -1) * (trained / steps)) - 1
  return indexed(index, trained, last)


def leading(schedule, steps: int, last: float, *, trained: int = 1000,
            offset: int = 0, more: int = 0):
  """From the first of the trained steps upwards, as DDIM and Stable Diffusion.

  It never reaches the last: arXiv:2305.08891 table 2. Stable Diffusion has offset 1.

  Args:
    more: how many steps it has first, of which the last ones are then left out;
      diffusers' DPM-Solver and UniPC have 1.
  """
  del schedule
  index = np.arange(more, steps + more)[::-1] * (trained // (steps + more)) + offset
  return indexed(index, trained, last)


def linspace(schedule, steps: int, last: float, *, trained: int = 1000, more: int = 0):
  """From the last to the first of the trained steps: arXiv:2305.08891 table 2.

  more: as in `leading`.
  """
  del schedule
  index = np.round(np.linspace(trained - 1, 0, steps + more))[:steps]
  return indexed(index, trained, last)


def custom(schedule, steps: int, last: float, *, times=()):
  """Given times, as a search finds them: Align Your Steps, arXiv:2404.14507.

  For another number of steps log(sigma / alpha) is interpolated linearly.

  Args:
    times: decreasing, in (0, 1].
  """
  times = np.minimum(np.asarray(times, np.float64), last)
  if len(times) == steps:
    return times
  ratio = -0.5 * np.asarray(log_snr(schedule, jnp.float32(times)), np.float64)
  if len(times) < 2 or not np.isfinite(ratio).all():
    raise ValueError('config.sample.times needs two times or more, all above 0 and '
                     'before the picture is gone, to be interpolated to '
                     f'{steps} steps.')
  at = np.linspace(0, len(times) - 1, steps)
  return at_ratios(schedule, np.exp(np.interp(at, np.arange(len(times)), ratio)))


GRIDS = {'linear': linear, 'shifted': shifted, 'flux': flux, 'karras': karras,
         'exponential': exponential, 'trailing': trailing, 'leading': leading,
         'linspace': linspace, 'custom': custom}


def make(name: str, schedule, steps: int, last: float = 1.0, **options):
  """Decreasing times f32[steps + 1] of which the last is 0. Not inside jit.

  Args:
    name: a key of GRIDS.
    schedule: t -> (alpha, sigma).
    last: the largest time, in (0, 1]: `schedule.last_time` of the network's target.
    options: keywords of the grid.

  Raises:
    ValueError: the times are not in (0, 1] or do not decrease; `leading`, for one, has
      no 600 steps of 1000.
  """
  times = np.append(GRIDS[name](schedule, steps, last, **options), 0.0)
  times = times.astype(np.float32)
  if not ((np.diff(times) < 0).all() and times[0] <= 1):
    raise ValueError(f'config.sample.grid is {name!r}; with {steps} steps and these '
                     'options its times do not decrease from 1 to 0.')
  return jnp.asarray(times)
