"""Editing: transforms of solvers, of timesteps and of where sampling.sample starts."""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion import posterior, specs
from diffusion.process import add_noise


def sdedit_timesteps(times, strength: float):
  """SDEdit, image to image, arXiv:2108.01073: the last round(strength n) + 1 times.

  times: f32[n + 1], decreasing; two or more are left. strength: in (0, 1]; how much
  noise the given picture gets, 1 all of it.
  """
  n = len(times) - 1
  return times[n - max(1, round(strength * n)):]


def inversion_timesteps(times):
  """Timesteps that lead from a picture to its noise: `times` turned round.

  They start at the least time above 0, since no solver evaluates at 0: the picture is
  taken for what it is there, as DDIM inversion does (arXiv:2010.02502 section 4.3).
  """
  return times[-2::-1]


def slerp(a, b, frac):
  """Spherical interpolation of noise: a [...] at frac 0, b at 1; keeps the norm."""
  cos = jnp.vdot(a, b) / jnp.linalg.norm(a) / jnp.linalg.norm(b)
  angle = jnp.arccos(jnp.clip(cos, -1 + 1e-6, 1 - 1e-6))
  mixed = jnp.sin((1 - frac) * angle) * a + jnp.sin(frac * angle) * b
  return mixed / jnp.sin(angle)


def put_back(solver, schedule, known, mask, noise):
  """A solver after each step of which what is known is back, under that step's noise.

  known: pictures [b h w c]. mask: f32[b h w 1], 1 where to paint. noise: (keys [b], x)
  -> the noise of what is known, like x [b h w c]. Raises ValueError if the solver
  chooses its own times.
  """
  if solver.solve:
    raise ValueError('painting in a mask takes solvers with steps; adaptive has none.')
  def step(denoise, x, x0, state, t, s, keys):
    x, state = solver.step(denoise, x, x0, state, t, s, keys)
    there = add_noise(known, noise(keys, x), *schedule(s))
    return mask * x + (1 - mask) * there, state
  return solver._replace(step=step)


def inpaint(solver, schedule, known, mask, eps):
  """Inpainting, `put_back` under the noise eps [b h w c], the same at all times."""
  return put_back(solver, schedule, known, mask, lambda keys, x: eps)


def repaint_timesteps(times, jump: int = 10, repeats: int = 10):
  """Times f32[n + 1] that go back up and down again: RePaint, arXiv:2201.09865, 4.2.

  jump: steps of each return. repeats: how often each stretch is walked down in all.
  """
  way, n = [0], len(times) - 1
  for start in range(0, n, jump):
    end = min(start + jump, n)
    down = list(range(start + 1, end + 1))
    again = [] if end == n else list(range(end - 1, start - 1, -1)) + down
    way += down + (repeats - 1) * again
  return times[np.array(way)]


def repaint(solver, schedule, known, mask, eps=None):
  """Inpainting on `repaint_timesteps`: RePaint, arXiv:2201.09865 alg. 1.

  A step up adds noise; a step down is the solver's with `put_back` under new noise, for
  which eps has no use. Raises ValueError, too, if the solver remembers: its state would
  be of another visit.
  """
  if solver.remembers:
    raise ValueError('RePaint takes solvers without memory.')
  fold = jax.vmap(jax.random.fold_in, (0, None))
  def upward(x, t, s, keys):
    return posterior.renoise(x, schedule(t), schedule(s), fold(keys, 1))
  def noise(keys, x):
    return posterior.noise_like(fold(keys, 2), x)
  return put_back(solver, schedule, known, mask, noise)._replace(
      upward=upward, stochastic=True)


class Fill(NamedTuple):
  """How what is masked is painted."""
  timesteps: Callable  # times -> times
  solver: Callable     # (solver, schedule, known, mask, eps) -> solver, as `inpaint`
  remembers: bool      # whether it takes solvers that remember


def repaint_fill(jump: int = 10, repeats: int = 10) -> Fill:
  """RePaint; the options are those of `repaint_timesteps`."""
  specs.above_zero(jump=jump, repeats=repeats)
  return Fill(lambda times: repaint_timesteps(times, jump, repeats), repaint, False)


FILLS = {  # options -> Fill
    'blend': lambda: Fill(lambda times: times, inpaint, True), 'repaint': repaint_fill,
    'network': lambda: Fill(lambda times: times, lambda solver, *known: solver, True)}
