"""Pseudo linear multistep, arXiv:2202.09778: as Stable Diffusion was published."""
import jax
import jax.numpy as jnp

from diffusion import specs
from diffusion.posterior import eps_in, transfer
from diffusion.solvers.runge_kutta import ratio_step
from diffusion.solvers.solver import Solver

# Adams-Bashforth for equal steps, by how many values there are, the newest first.
WEIGHTS = ((1, 0, 0, 0), (3 / 2, -1 / 2, 0, 0), (23 / 12, -16 / 12, 5 / 12, 0),
           (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def plms(schedule, times=None, *, of: str = 'eps') -> Solver:
  """PLMS, arXiv:2202.09778 eq. 12: DDIM with eps extrapolated from four values.

  Its weights are those of equal steps. The first step takes two evaluations, its mean
  eps is that of both ends. of: 'eps' or 'v', what is extrapolated.
  """
  specs.require(lambda name: name in ('eps', 'v'), "it must be 'eps' or 'v'", of=of)
  end = 0.0 if times is None else times[-1]
  def value_of(x, x0, now):
    eps = eps_in(x, x0, now)
    return eps if of == 'eps' else now[0] * eps - now[1] * x0
  def move(x, x0, change, now, then):
    """x after a step with a value that is by `change` another than at its start."""
    if of == 'v':
      return transfer(x, x0 - now[1] * change, now, then)
    return transfer(x, x0, now, then) + ratio_step(now, then) * change
  def step(denoise, x, x0, state, t, s, keys):
    values, count = state
    now, then = schedule(t), schedule(s)
    newest = value_of(x, x0, now)
    def first():
      guess = transfer(x, x0, now, then)
      return (value_of(guess, denoise(guess, s), then) - newest) / 2
    def later():
      weights = jnp.asarray(WEIGHTS, x.dtype)[jnp.minimum(count, 3)]
      return sum(w * value for w, value in zip(weights, (newest, *values))) - newest
    change = jax.lax.cond((count == 0) & (s > end), first, later)
    return move(x, x0, change, now, then), ((newest, *values[:-1]), count + 1)
  return Solver(lambda x: ((jnp.zeros_like(x),) * 3, jnp.int32(0)), step,
                remembers=True)
