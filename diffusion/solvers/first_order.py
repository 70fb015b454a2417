"""One evaluation, no memory: solvers that differ in how much noise they draw anew."""
import jax.numpy as jnp

from diffusion import process
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
      tilde); 'large' if they are standard normal (beta, where variance is preserved);
      'learned' is between them, arXiv:2102.09672 eq. 15: `denoise` then returns
      [b h w 2c], x0 and how far from the first to the second.
  """
  if variance not in ('posterior', 'large', 'learned'):
    raise ValueError(
        f"variance is {variance!r}; ddpm takes 'large', 'learned' or 'posterior'.")
  if variance == 'posterior':
    return ddim(schedule, eta=1.0)

  def step(denoise, x, t, s, keys):
    now, then = schedule(t), schedule(s)
    x0, share = process.parts(denoise(x, t), x)
    mean = transfer(x, x0, now, (then[0], then[1] * steps.shrink(now, then)))
    fresh = steps.largest(now, then)
    if variance == 'learned':
      fresh = steps.ancestral(now, then, 1.0)**(1 - share) * fresh**share
    return mean + jnp.where(s > 0, fresh, 0.0) * steps.gaussian(keys, x)
  return stateless(step)
