"""What a row of TIMESTEPS gives, and what a sampler makes of it."""
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion.schedules import log_snr, time_from_log_snr


class Grid(NamedTuple):
  """Times, and what else a sampler needs to know of them.

  Attributes:
    times: decreasing, f64[n].
    shown: at which time the network is told to be at each of them, f64[n]: one that was
      trained at whole steps may be told the nearest. None: where it is.
    trained: at other times it is told the place between this many steps at which
      log(sigma / alpha) is, linearly, as in k-diffusion; 0: where it is.
    end: where the last step ends; 0 is the picture.
  """
  times: Any
  shown: Any = None
  trained: int = 0
  end: float = 0.0


def as_grid(row) -> Grid:
  """What a row of TIMESTEPS gave, as a Grid."""
  return row if isinstance(row, Grid) else Grid(row)


def complete(row):
  """The times of a row of TIMESTEPS and where they end, f32[steps + 1]. Not inside jit.

  Raises ValueError if they are not in [0, 1] or do not decrease; `trailing`, for one,
  has no 2000 steps of 1000.
  """
  grid = as_grid(row)
  times = np.append(grid.times, grid.end).astype(np.float32)
  if not ((np.diff(times) < 0).all() and times[0] <= 1):
    raise ValueError(f'with {len(times) - 1} steps and these options its times do not '
                     'decrease from 1 to 0.')
  return jnp.asarray(times)


def network_time(row, schedule):
  """t f32[...] -> the time that the network is told; None where that is t."""
  grid = as_grid(row)
  if grid.shown is None:
    return None
  knots, shown = np.float32(grid.times), np.float32(grid.shown)
  steps = np.arange(1, grid.trained + 1)
  levels = step_levels(schedule, grid.trained) if grid.trained else None
  def told(t):
    t = jnp.asarray(t)
    at, other = t[..., None] == knots, t
    if grid.trained:
      other = jnp.interp(-0.5 * log_snr(schedule, t), jnp.asarray(levels, t.dtype),
                         jnp.asarray(steps / grid.trained, t.dtype))
    return jnp.where(at.any(-1), (at * shown).sum(-1), other).astype(t.dtype)
  return told


def step_levels(schedule, trained: int):
  """log(sigma / alpha) of the steps of a network trained at so many, f64[trained]."""
  steps = jnp.arange(1, trained + 1, dtype=jnp.float32) / trained
  return -0.5 * np.asarray(log_snr(schedule, steps), np.float64)


def at_ratios(schedule, ratio):
  """Times at which sigma / alpha has these values, f64[n]."""
  log_snrs = jnp.float32(-2 * np.log(ratio))
  return np.asarray(time_from_log_snr(schedule, log_snrs), np.float64)
