"""Editing with the sampling loop: transforms of solvers, and of where it starts.

Everything here is a Solver -> Solver, a grid of times or a starting point; the loop is
sampling.sample.
"""
import jax
import jax.numpy as jnp
import numpy as np

from diffusion import process
from diffusion.solvers import steps


def part(times, strength: float):
  """The last share of a grid, for image to image: SDEdit, arXiv:2108.01073.

  Args:
    times: f32[n + 1], decreasing.
    strength: in (0, 1]; how much noise the given picture gets, 1 all of it.

  Returns:
    The last round(strength n) + 1 times, at least 2.
  """
  n = len(times) - 1
  return times[n - max(1, round(strength * n)):]


def blended(solver, schedule, known, mask, eps):
  """Inpainting: after each step, what is known is put back at that step's noise.

  Args:
    known: pictures [b h w c]. mask: f32[b h w 1], 1 where to paint.
    eps: the noise of the known part, [b h w c], the same at all times.
  """
  def step(denoise, x, state, t, s, keys):
    x, state = solver.step(denoise, x, state, t, s, keys)
    there = process.add_noise(known, eps, *schedule(s))
    return mask * x + (1 - mask) * there, state
  return solver._replace(step=step)


def resampling(times, jump: int = 10, repeats: int = 10):
  """RePaint's grid, which goes back up and down again: arXiv:2201.09865 section 4.2.

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


def repainted(solver, schedule, known, mask):
  """Inpainting on a grid of `resampling`: RePaint, arXiv:2201.09865 alg. 1.

  A step up adds noise; a step down is the solver's, which must not look back (its
  state would be of another visit), and puts back what is known under fresh noise.
  """
  def step(denoise, x, state, t, s, keys):
    if jax.tree.leaves(state):
      raise ValueError('RePaint takes solvers without memory.')
    def noise(i):
      return steps.gaussian(jax.vmap(jax.random.fold_in, (0, None))(keys, i), x)
    (alpha, sigma), (alpha_s, sigma_s) = schedule(t), schedule(s)
    def up(x):
      kept = alpha_s / alpha
      return kept * x + jnp.sqrt(jnp.maximum(
          sigma_s**2 - (kept * sigma) ** 2, 0)) * noise(1)
    def down(x):
      x, _ = solver.step(denoise, x, state, t, s, keys)
      there = process.add_noise(known, noise(2), alpha_s, sigma_s)
      return mask * x + (1 - mask) * there
    return jax.lax.cond(s > t, up, down, x), state
  return solver._replace(step=step)


def upward(times):
  """A grid that leads from a picture to its noise: `times` turned round.

  It starts at the least time above 0, since no solver evaluates at 0: the picture is
  taken for what it is there, as DDIM inversion does (arXiv:2010.02502 section 4.3).
  """
  return times[-2::-1]


def between(a, b, share):
  """Spherical interpolation of noise: a [...] at share 0, b at 1; keeps the norm."""
  cos = jnp.vdot(a, b) / jnp.linalg.norm(a) / jnp.linalg.norm(b)
  angle = jnp.arccos(jnp.clip(cos, -1 + 1e-6, 1 - 1e-6))
  mixed = jnp.sin((1 - share) * angle) * a + jnp.sin(share * angle) * b
  return mixed / jnp.sin(angle)
