"""Timesteps among the steps that a network was trained at, counted from 0.

Step i of n is the time (i + 1) / n: arXiv:2305.08891 table 2, with what diffusers' and
k-diffusion's samplers do of it. Options that rows share:

  trained: steps that the network was trained at.
  last: how many of those count, from the first; 0: all.
  more: how many steps there are first, of which the last ones are then left out;
    diffusers' DPM-Solver and UniPC have 1.
  until: where the last step ends: 'zero', the picture, or 'first', the first step.
"""
import numpy as np

from diffusion import specs
from diffusion.grid import Grid, at_ratios, step_levels


def until_time(until: str, trained: int) -> float:
  """Where sampling ends."""
  specs.require(lambda name: name in ('zero', 'first'), "it must be 'first' or 'zero'",
                until=until)
  return 0.0 if until == 'zero' else 1 / trained


def indexed(index, trained: int, t_max: float, until: str):
  """The Grid of steps by their index, which may lie between two."""
  times = np.minimum((index + 1) / trained, t_max)
  return Grid(times, end=until_time(until, trained))


def check(trained: int, last: int, **counts) -> int:
  """How many steps count. Raises ValueError for counts that make no sense."""
  specs.above_zero(trained=trained)
  specs.not_negative(**counts)
  specs.between(0, trained, last=last)
  return last or trained


def trailing(steps: int, t_max: float, *, trained: int = 1000, last: int = 0,
             until: str = 'zero'):
  """From the last of the trained steps downwards."""
  top = check(trained, last)
  index = np.arange(top, 0, -trained / steps)[:steps].round() - 1
  return indexed(index, trained, t_max, until)


def leading(steps: int, t_max: float, *, trained: int = 1000, offset: int = 0,
            more: int = 0, last: int = 0, until: str = 'zero'):
  """From the first of the trained steps upwards, as DDIM and Stable Diffusion.

  It never reaches the last. Stable Diffusion has offset 1.
  """
  top = check(trained, last, offset=offset, more=more)
  index = np.arange(more, steps + more)[::-1] * (top // (steps + more)) + offset
  return indexed(index, trained, t_max, until)


def linspace(schedule, steps: int, t_max: float, *, trained: int = 1000, more: int = 0,
             last: int = 0, whole: bool = True, until: str = 'zero'):
  """From the last to the first of the trained steps.

  whole: at whole steps; if not, between two of them sigma / alpha is linear.
  """
  top = check(trained, last, more=more)
  index = np.linspace(0, top - 1, steps + more)[::-1][:steps]
  if whole:
    return indexed(index.round(), trained, t_max, until)
  ratios = np.exp(step_levels(schedule, trained))
  times = at_ratios(schedule, np.interp(index, np.arange(trained), ratios))
  return Grid(np.minimum(times, t_max), (index + 1) / trained, trained,
              until_time(until, trained))


def distilled(steps: int, t_max: float, *, trained: int = 1000, original: int = 50,
              until: str = 'zero'):
  """Of the `original` steps, evenly spaced, that a network was distilled at: latent
  consistency models, arXiv:2310.04378."""
  specs.above_zero(trained=trained)
  specs.between(1, trained, original=original)
  specs.require(lambda n: n >= steps, f'it must be at least the {steps} steps',
                original=original)
  known = np.arange(original, 0, -1) * (trained // original) - 1
  index = known[np.floor(np.linspace(0, original, steps, endpoint=False)).astype(int)]
  return indexed(index, trained, t_max, until)
