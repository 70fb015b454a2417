"""DPM-Solver++ of several evaluations a step, each at one of the given times."""
import jax
import jax.numpy as jnp
import numpy as np

from diffusion import specs
from diffusion.posterior import half_log_snr, sigma_ratio, transfer
from diffusion.solvers.multistep import empty, pop, push, quadrature
from diffusion.solvers.solver import Solver


def orders_of(steps: int, order: int, alone: bool) -> np.ndarray:
  """How many values the evaluations use: 1, 2, 3, 1, 2, 3, ... int[steps].

  alone: the last one uses 1, whatever its turn is.
  """
  orders = np.arange(steps) % order + 1
  orders[-1] = 1 if alone else orders[-1]
  return orders


def dpmpp_singlestep(schedule, times=None, *, order: int = 2, eta: float = 0.0,
                     middle: bool = True, lower: bool = True) -> Solver:
  """DPM-Solver++(2S) and (3S), arXiv:2211.01095 alg. 1, on times that are given.

  An evaluation at each of the times; the steps span `order` of them, so that what is
  between is where the times put it. All that is said along a step is put into it again
  from its start.

  eta: of the noise, as in `dpmpp_2m_sde`. middle: as in `dpmpp_2m`; of order 3, the
  line through the first and the last value in place of the parabola. lower: an
  evaluation that would end the last step stands alone; one before t = 0 always does.
  """
  specs.require(lambda n: n in (1, 2, 3), 'it must be 1, 2 or 3', order=order)
  specs.between(0, 10, eta=eta)
  n = 0 if times is None else len(times) - 1
  orders = orders_of(n or order, order, n > 0 and (
      bool(times[-1] == 0) or lower and n % order == 0))
  def step(denoise, x, x0, state, t, s, keys):
    history, starts, count = state  # starts: (x, t) of each value
    history = push(history, x0, half_log_snr(schedule, t))
    starts = ((x, t), *starts)
    at = n - jnp.sum(times[:-1] <= t) if n else count % order
    goal = half_log_snr(schedule, s)
    def from_start(k):
      """The step from k - 1 evaluations ago, through what was said since."""
      points = [*range(k - 1, -1, -1)]  # the oldest first
      if k == 3 and middle:
        points = [2, 0]
      start = history.at[points[0]]
      w = quadrature(jnp.stack([history.at[i] - start for i in points]), goal - start,
                     1 + eta, middle=middle and k == 2)
      mean = sum(w[j] * history.values[i] for j, i in enumerate(points))
      begin, began = starts[points[0]]
      now, then = schedule(began), schedule(s)
      noise_std = (then[1] * jnp.sqrt(1 - sigma_ratio(now, then)**(2 * eta))
                   if eta else None)
      return transfer(begin, mean, now, then, noise_std, keys)
    k = jnp.minimum(jnp.asarray(orders)[at], count + 1)
    x = jax.lax.switch(k - 1, [lambda k=k: from_start(k) for k in range(1, order + 1)])
    return x, (pop(history), starts[:-1], count + 1)
  def init(x):
    start = x, jnp.ones((), x.dtype)
    return empty(x, order - 1), (start,) * (order - 1), jnp.int32(0)
  return Solver(init, step, stochastic=eta > 0, remembers=order > 1)
