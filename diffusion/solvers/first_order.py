"""One evaluation, no memory: solvers that differ in how much noise they draw anew."""
import jax.numpy as jnp

from diffusion.solvers import steps
from diffusion.solvers.steps import Solver, stateless, transfer


def ddim(schedule, *, eta: float = 0.0) -> Solver:
  """DDIM, arXiv:2010.02502 eq. 12 and 16. eta 0 is deterministic, 1 is DDPM."""
  def step(denoise, x, t, s, keys):
    now, then = schedule(t), schedule(s)
    fresh = steps.ancestral(now, then, eta)
    return transfer(x, denoise(x, t), now, then, fresh, keys)
  return stateless(step)


def euler_ancestral(schedule, *, eta: float = 1.0) -> Solver:
  """Euler's method in sigma / alpha with fresh noise: DDIM by another name.

  In x / alpha the slope over sigma / alpha is eps, so a step of Euler keeps x0 and eps.
  """
  return ddim(schedule, eta=eta)


def lcm(schedule) -> Solver:
  """Multistep consistency sampling, arXiv:2303.01469 alg. 1: x0, and all noise anew.

  For networks trained to give the end of the path; the mean x0 of others makes it dull.
  """
  def step(denoise, x, t, s, keys):
    now, then = schedule(t), schedule(s)
    return transfer(x, denoise(x, t), now, then, then[1], keys)
  return stateless(step)


def ddpm(schedule, *, variance: str = 'posterior') -> Solver:
  """Ancestral sampling, arXiv:2006.11239 alg. 2.

  Args:
    variance: of x_s given x_t. 'posterior' is right if all pictures are one (beta
      tilde); 'large' if they are standard normal (beta, where variance is preserved).
  """
  if variance not in ('posterior', 'large'):
    raise ValueError(
        f"variance is {variance!r}; ddpm takes 'large' or 'posterior'.")
  if variance == 'posterior':
    return ddim(schedule, eta=1.0)

  def step(denoise, x, t, s, keys):
    now, then = schedule(t), schedule(s)
    ratio = steps.shrink(now, then)
    mean = transfer(x, denoise(x, t), now, (then[0], then[1] * ratio))
    # Noise of x_t that x_s lacks, times the share of it that x_t does not tell.
    fresh = now[1] * jnp.sqrt(1 - ratio**2) * jnp.hypot(*then) / jnp.hypot(*now)
    return mean + jnp.where(s > 0, fresh, 0.0) * steps.gaussian(keys, x)
  return stateless(step)
