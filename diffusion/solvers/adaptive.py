"""A solver that chooses its own steps, for each picture by itself."""
import jax
import jax.numpy as jnp

from diffusion import specs
from diffusion.posterior import half_log_snr
from diffusion.process import append_dims
from diffusion.schedules import time_from_log_snr
from diffusion.solvers.multistep import quadrature
from diffusion.solvers.solver import Solver


def adaptive(schedule, *, rtol: float = 0.05, atol: float = 0.0078,
             most: int = 301) -> Solver:
  """`dpm_solver_23` as a solver; the given times fix only where it starts and ends."""
  specs.above_zero(rtol=rtol, atol=atol)
  specs.require(lambda n: n >= 4, 'it must be 4 or more, for one step', most=most)
  def solve(denoise, x, times):
    start = jnp.minimum(times[0], 0.999)  # where alpha is 0 it has no clock
    return dpm_solver_23(denoise, schedule, x, start, times[-2], rtol=rtol, atol=atol,
                         most=most)[0]
  return Solver(lambda x: (), solve=solve)


def dpm_solver_23(denoise, schedule, x, start, end, *, rtol: float = 0.05,
                  atol: float = 0.0078, first: float = 0.05, most: int = 301):
  """DPM-Solver-23 with adaptive steps, arXiv:2206.00927, as in k-diffusion.

  Steps in lambda = log(alpha / sigma) of y = x / alpha, whose slope over sigma / alpha
  is eps; three evaluations a step. The error is the difference between the solutions
  of second and third order, the new step the old times about error^(-1 / 3).

  Args:
    denoise: (x [b h w c], t f32[b]) -> x0. Pictures are at different times.
    x: [b h w c] at time `start`.
    start, end: times with 1 > start > end > 0 (or 1, if alpha > 0 there). At `end` x0
      is taken for the picture.
    rtol, atol: of the root mean square error of a step in y, each over the larger of
      atol and rtol |y|.
    first: length of the first step that is tried.
    most: evaluations of a picture at most. Whatever is not at `end` by then is taken
      as it is: its count is then above most - 4, and the tolerance was not kept.

  Returns (x0 [b h w c], evaluations of each picture int32[b]). The network is evaluated
  for the whole batch until its slowest picture is done.
  """
  goal = half_log_snr(schedule, jnp.asarray(end, x.dtype))
  across = lambda values: append_dims(values, x)
  def noise(y, at):
    """(x0, eps) of y at lambda f32[b]."""
    t = time_from_log_snr(schedule, 2 * at)
    x0 = denoise(across(schedule(t)[0]) * y, t)
    return x0, (y - x0) * across(jnp.exp(at))
  def mean_share(known, h):
    """Of eps at a share `known` of h, in its mean over h[b]."""
    return across(jax.vmap(lambda h: quadrature(
        jnp.stack([jnp.zeros_like(h), known * h]), h, -1.0)[1])(h))
  def attempt(y, at, h):
    """Solutions of second and third order after h f32[b]: r1 = 1/3, r2 = 2/3."""
    def move(by, eps):
      return y + across(jnp.exp(-at - by) - jnp.exp(-at)) * eps
    _, eps = noise(y, at)
    _, eps_1 = noise(move(h / 3, eps), at + h / 3)
    guess = move(2 * h / 3, eps + mean_share(0.5, 2 * h / 3) * (eps_1 - eps))
    _, eps_2 = noise(guess, at + 2 * h / 3)
    return (move(h, eps + 1.5 * (eps_1 - eps)),
            move(h, eps + mean_share(2 / 3, h) * (eps_2 - eps)))
  unfinished = lambda at: at < goal - 1e-5
  def body(carry):
    y, scale, at, h, count = carry
    active = unfinished(at)
    until = jnp.minimum(goal, at + h)
    low, high = attempt(y, at, until - at)
    slack = jnp.maximum(atol, rtol * jnp.maximum(jnp.abs(low), scale))
    axes = tuple(range(1, x.ndim))
    error = jnp.sqrt(jnp.mean(jnp.square((low - high) / slack), axes))  # [b]
    factor = 1 + jnp.arctan((error + 1e-8)**(-1 / 3) - 1)  # from 0.2 to 2.6
    accept = active & (factor >= 0.81)
    keep = lambda new, old: jnp.where(across(accept), new, old)
    return (keep(high, y), keep(jnp.abs(low), scale), jnp.where(accept, until, at),
            jnp.where(active, h * factor, h), count + 3 * active)
  def going(carry):
    _, _, at, _, count = carry
    return unfinished(at).any() & (count.max() + 3 < most)
  start = jnp.full(x.shape[:1], start, x.dtype)
  y = x / across(schedule(start)[0])
  count = jnp.zeros(x.shape[:1], jnp.int32)
  y, _, at, _, count = jax.lax.while_loop(going, body, (
      y, jnp.abs(y), half_log_snr(schedule, start), jnp.full_like(start, first), count))
  return noise(y, at)[0], count + 1
