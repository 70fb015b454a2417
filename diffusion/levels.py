"""Timesteps by how much noise there is, sigma / alpha, between two ends.

Options that rows share:

  sigma_min, sigma_max: the ends; sigma_max = 0 is what the schedule has at t_max, or 80
    where that is infinite.
  trained: the network was trained at so many steps, and has nothing below the first:
    ends that are 0 are those of its steps. It is told where between them it is, as in
    k-diffusion; with `whole` the nearest, as in diffusers' DPM-Solver.
  spacing, offset: the ends are those of a row of spacings.py: 'leading', 'trailing'.
  of_t: t in place of sigma / alpha, as flows have it.
  until: where the last step ends: 'zero', the picture; 'first', the first trained step;
    'last': where it starts, all but: an evaluation more there, which changes nothing.
"""
import math

import jax.numpy as jnp
import numpy as np

from diffusion import spacings, specs
from diffusion.grid import Grid, at_ratios, step_levels
from diffusion.schedules import log_snr

UNTIL = {  # -> (times, trained) -> where the last step ends
    'zero': lambda times, trained: 0.0, 'first': lambda times, trained: 1 / trained,
    'last': lambda times, trained: np.nextafter(*np.float32([times[-1], 0]))}
SPACINGS = {'': None, 'leading': spacings.leading, 'trailing': spacings.trailing}


def karras(schedule, steps: int, t_max: float, *, rho: float = 7.0,
           sigma_min: float = 0.002, sigma_max: float = 0.0, trained: int = 0,
           whole: bool = False, spacing: str = '', offset: int = 0, of_t: bool = False,
           until: str = 'zero'):
  """Uniform in (sigma / alpha)^(1 / rho): arXiv:2206.00364 eq. 5."""
  specs.between(0.1, 100, rho=rho)
  def space(high, low):
    return np.linspace(high**(1 / rho), low**(1 / rho), steps)**rho
  return between(schedule, steps, t_max, space, sigma_min, sigma_max, trained, whole,
                 spacing, offset, of_t, until)


def exponential(schedule, steps: int, t_max: float, *, sigma_min: float = 0.002,
                sigma_max: float = 0.0, trained: int = 0, whole: bool = False,
                spacing: str = '', offset: int = 0, of_t: bool = False,
                until: str = 'zero'):
  """Uniform in log(sigma / alpha)."""
  return between(schedule, steps, t_max,
                 lambda high, low: np.geomspace(high, low, steps), sigma_min, sigma_max,
                 trained, whole, spacing, offset, of_t, until)


def beta(schedule, steps: int, t_max: float, *, a: float = 0.6, b: float = 0.6,
         sigma_min: float = 0.002, sigma_max: float = 0.0, trained: int = 0,
         whole: bool = False, spacing: str = '', offset: int = 0, of_t: bool = False,
         until: str = 'zero'):
  """At quantiles of a beta distribution between the ends: arXiv:2407.12173."""
  specs.between(0.01, 100, a=a, b=b)
  def space(high, low):
    from scipy import special  # here, as it takes as long as a third of jax
    return low + (high - low) * special.betaincinv(a, b, np.linspace(1, 0, steps))
  return between(schedule, steps, t_max, space, sigma_min, sigma_max, trained, whole,
                 spacing, offset, of_t, until)


def between(schedule, steps, t_max, space, sigma_min, sigma_max, trained, whole,
            spacing, offset, of_t, until):
  """The Grid of space(high, low), for the options above."""
  specs.not_negative(trained=trained, offset=offset, sigma_max=sigma_max)
  (specs.not_negative if trained else specs.above_zero)(sigma_min=sigma_min)
  specs.require(lambda name: name in UNTIL, f'it must be one of {sorted(UNTIL)}',
                until=until)
  for name, value in dict(spacing=spacing, whole=whole, until=until).items():
    specs.require(lambda value: trained or value in ('', False, 'zero', 'last'),
                  'it is for networks that were `trained` at steps', **{name: value})
  specs.require(lambda name: name in SPACINGS, f'it must be one of {sorted(SPACINGS)}',
                spacing=spacing)
  if of_t:
    times = space(min(sigma_max or t_max, t_max), sigma_min)
    return Grid(times, end=UNTIL[until](times, trained))
  given = {'offset': offset} if spacing == 'leading' else {}
  first, last = (1.0, 1 / max(trained, 1)) if not spacing else (
      SPACINGS[spacing](steps, 1.0, trained=trained, **given).times[[0, -1]])
  most = ratio_at(schedule, min(first, t_max))
  most = most if math.isfinite(most) else 80.0
  low = sigma_min or ratio_at(schedule, last)
  ratios = space(min(sigma_max or most, most), low)
  times = at_ratios(schedule, ratios)
  end = UNTIL[until](times, trained)
  if not trained:
    return Grid(times, end=end)
  index = np.interp(np.log(ratios), step_levels(schedule, trained), np.arange(trained))
  shown = (np.round(index) if whole else index) + 1
  return Grid(times, shown / trained, trained, end)


def ratio_at(schedule, t: float) -> float:
  """sigma / alpha at a time."""
  return float(np.exp(-0.5 * float(log_snr(schedule, jnp.float32(t)))))


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
