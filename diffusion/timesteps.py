"""Timesteps: the times at which a sampler calls its network.

A row of TIMESTEPS gives decreasing times f64[steps], of which the last is above 0, or a
Grid, which says more of them; `complete` makes of either what a sampler walks along.
Each may need the schedule, the number of steps, t_max, the largest time that it may
give (`process.t_max` of what the network predicts), and how many tokens a picture is.
"""
import math

import numpy as np

from diffusion import levels, spacings, specs
from diffusion.grid import Grid, complete, network_time

__all__ = ['TIMESTEPS', 'Grid', 'complete', 'linear', 'network_time']


def linear(steps: int, t_max: float):
  """Uniform in t."""
  return np.linspace(t_max, 0, steps + 1)[:-1]


def shifted(steps: int, t_max: float, *, shift: float = 3.0, start: float = 1.0,
            end: float = 0.0, terminal: float = 0.0, whole: bool = False):
  """Stable Diffusion 3's, arXiv:2403.03206 eq. 23: t' = m t / (1 + (m - 1) t).

  shift: m. start, end: t of the first and of the last evaluation, before the shift; end
  0: uniform down to the picture. The released models are drawn with that to which the
  shift moves 0.001. terminal: the times are stretched from 1 so that the last is this
  one, as in LTX-Video; 0: they are not. whole: the network is told whole thousandths,
  rounded down.
  """
  specs.above_zero(shift=shift)
  specs.between(0, 1, end=end, start=start, terminal=terminal)
  specs.require(lambda t: t > end, 'it must be above end', start=start)
  t = (np.linspace(start, end, steps) if end else
       (1 - np.linspace(1, 1 - start, steps + 1))[:0:-1])
  t = t_max * shift * t / (1 + (shift - 1) * t)
  if terminal:
    specs.require(lambda end: t[-1] < 1, 'one step has no last time to stretch',
                  terminal=terminal)
    t = 1 - (1 - t) * (1 - terminal) / (1 - t[-1])
  return Grid(t, np.floor(1000 * np.minimum(t, 1 - 1e-6)) / 1000) if whole else t


def flux(steps: int, t_max: float, *, tokens: int = 4096):
  """Flux's: the logarithm of the shift is linear in the number of image tokens, 0.5 at
  256 and 1.15 at 4096, as in black-forest-labs/flux."""
  specs.above_zero(tokens=tokens)
  return dynamic(steps, t_max, tokens)


def dynamic(steps: int, t_max: float, tokens: int = None, *, base_shift: float = 0.5,
            max_shift: float = 1.15, base_tokens: int = 256, max_tokens: int = 4096,
            linear: bool = False, end: float = 0.0, terminal: float = 0.0):
  """`shifted` by the size of the picture: the logarithm of the shift is linear in its
  number of tokens, base_shift at base_tokens and max_shift at max_tokens.

  linear: the shift itself is. end, terminal: of `shifted`.
  """
  specs.above_zero(base_tokens=base_tokens)
  specs.require(lambda n: n > base_tokens, 'it must be above base_tokens',
                max_tokens=max_tokens)
  specs.between(-20, 20, base_shift=base_shift, max_shift=max_shift)
  share = ((tokens or max_tokens) - base_tokens) / (max_tokens - base_tokens)
  mu = base_shift + (max_shift - base_shift) * share
  if linear:
    specs.require(lambda _: mu > 0, f'it makes a shift of {mu:.3g}',
                  base_shift=base_shift)
  return shifted(steps, t_max, shift=mu if linear else math.exp(mu), end=end,
                 terminal=terminal)


TIMESTEPS = {  # (schedule, steps, t_max, tokens, **options), of which it needs
    'linear': linear, 'shifted': shifted, 'flux': flux, 'dynamic': dynamic,
    'karras': levels.karras, 'exponential': levels.exponential, 'beta': levels.beta,
    'trailing': spacings.trailing, 'leading': spacings.leading,
    'linspace': spacings.linspace, 'distilled': spacings.distilled,
    'custom': levels.custom}
