"""Editing with the sampling loop: transforms of solvers, and of where it starts.

Everything here is a Solver -> Solver, timesteps or a starting point; the loop is
sampling.sample.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from diffusion import posterior, specs
from diffusion.process import add_noise


def sdedit_timesteps(times, strength: float):
  """The last share of the timesteps, for image to image: SDEdit, arXiv:2108.01073.

  Args:
    times: f32[n + 1], decreasing.
    strength: in (0, 1]; how much noise the given picture gets, 1 all of it.

  Returns:
    The last round(strength n) + 1 times, at least 2.
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


def inpaint(solver, schedule, known, mask, eps):
  """Inpainting: after each step, what is known is put back at that step's noise.

  Args:
    known: pictures [b h w c]. mask: f32[b h w 1], 1 where to paint.
    eps: the noise of the known part, [b h w c], the same at all times.

  Raises:
    ValueError: the solver chooses its own times.
  """
  if solver.solve:
    raise ValueError('painting in a mask takes solvers with steps; adaptive has none.')
  def step(denoise, x, x0, state, t, s, keys):
    x, state = solver.step(denoise, x, x0, state, t, s, keys)
    there = add_noise(known, eps, *schedule(s))
    return mask * x + (1 - mask) * there, state
  return solver._replace(step=step)


def repaint_timesteps(times, jump: int = 10, repeats: int = 10):
  """RePaint's, which go back up and down again: arXiv:2201.09865 section 4.2.

  Args:
    times: f32[n + 1], decreasing.
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

  A step up adds noise; a step down is the solver's and puts back what is known under
  new noise. known, mask: as `inpaint`, whose eps has no use here.

  Raises:
    ValueError: the solver remembers, and its state would be of another visit; or it
      chooses its own times.
  """
  if solver.remembers or solver.solve:
    raise ValueError('RePaint takes solvers without memory, and with steps.')
  def fold(keys, i):
    return jax.vmap(jax.random.fold_in, (0, None))(keys, i)
  def upward(x, t, s, keys):
    return posterior.renoise(x, schedule(t), schedule(s), fold(keys, 1))
  def step(denoise, x, x0, state, t, s, keys):
    x, state = solver.step(denoise, x, x0, state, t, s, keys)
    there = add_noise(known, posterior.noise_like(fold(keys, 2), x), *schedule(s))
    return mask * x + (1 - mask) * there, state
  return solver._replace(step=step, upward=upward, stochastic=True)


class Fill(NamedTuple):
  """How what is masked is painted.

  Attributes:
    timesteps: times -> times.
    solver: (solver, schedule, known, mask, eps) -> solver, as `inpaint`.
    remembers: whether it takes solvers that remember.
  """
  timesteps: Callable
  solver: Callable
  remembers: bool


def repaint_fill(jump: int = 10, repeats: int = 10) -> Fill:
  """RePaint; the options are those of `repaint_timesteps`."""
  specs.above_zero(jump=jump, repeats=repeats)
  return Fill(lambda times: repaint_timesteps(times, jump, repeats), repaint, False)


FILLS = {  # options -> Fill
    'blend': lambda: Fill(lambda times: times, inpaint, True), 'repaint': repaint_fill}
