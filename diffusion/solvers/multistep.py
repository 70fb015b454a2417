"""One evaluation a step and a memory of the last ones: exponential integrators.

By eq. (7) of process.py a step needs only the mean of x0 along it, under a weight that
is known. The methods here take the polynomial through the last predictions, and differ
in its order, in whether it is one of x0 or of eps, and in the variable. With the mean
for x0, `transfer` gives the step.
"""
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from diffusion import specs
from diffusion.posterior import eps_in, half_log_snr, sigma_ratio, transfer
from diffusion.solvers.solver import Solver

# Gauss-Legendre on [-1, 1]: exact to rounding for steps of lambda up to 10.
NODES, QUADRATURE = np.polynomial.legendre.leggauss(16)


class History(NamedTuple):
  """The last predictions, newest first, and where the clock stood."""
  values: tuple  # of [b h w c]
  at: tuple      # of f32[]; nan: nothing there yet


def empty(x, n: int) -> History:
  """For n predictions like x."""
  return History((jnp.zeros_like(x),) * n, (jnp.full((), jnp.nan, x.dtype),) * n)


def push(history: History, value, at) -> History:
  return History((value, *history.values), (at, *history.at))


def pop(history: History) -> History:
  return History(*(part[:-1] for part in history))


def quadrature(at, h, rate: float, middle: bool = False, halved: bool = False):
  """Weights [p] of p values in the mean over a step of the polynomial through them.

      w_j = int L_j(u) e^(-rate (h - u)) du / int e^(-rate (h - u)) du, u from 0 to h

  with Lagrange's L_j, the polynomial that is 1 at u_j and 0 at the other points.

  Args:
    at: f32[p], u_j: where the values are, from the start of the step, where the first
      is. Those that are not finite do not count.
    h: f32[], length of the step; if it is not finite, only the first value counts.
    middle: of two values, take the line at h / 2 for its mean, as DPM-Solver++(2M) and
      UniPC do; the order is the same.
    halved: of three values, take half of the parabola's u^2.
  """
  first = jnp.arange(len(at)) == 0
  used = first | (jnp.isfinite(at) & jnp.isfinite(h))
  at, h = jnp.where(used & ~first, at, 0.0), jnp.where(jnp.isfinite(h), h, 1.0)
  u = h * (NODES.astype(h.dtype) + 1) / 2
  mass = QUADRATURE.astype(h.dtype) * jnp.exp(-rate * (h - u))
  if middle:
    u = jnp.where(used.sum() == 2, h / 2, u)
  pairs = used[:, None] & used & ~np.eye(len(at), dtype=bool)
  gaps = jnp.where(pairs, at[:, None] - at, 1.0)                             # [p p]
  factors = jnp.where(pairs[..., None], (u - at[:, None]) / gaps[..., None], 1.0)
  basis = factors.prod(1)                                                    # [p u]
  if halved:
    basis -= (1 / gaps).prod(1)[:, None] * jnp.where(used.sum() == 3, u**2 / 2, 0.0)
  return jnp.where(used, basis @ mass / mass.sum(), 0.0)


def limited(history: History, most) -> History:
  """Only the newest ones count; most: how many, int[]."""
  return History(history.values, tuple(
      at if i == 0 else jnp.where(i < most, at, jnp.nan)
      for i, at in enumerate(history.at)))


def order_at(t, times, order: int, lower: int = 0, euler_last: bool = False):
  """How many values a step from time t uses: int[].

  lower: with fewer steps than this the last ones are of lower order, the last of 1, the
  one before of 2. euler_last: the last is of order 1 in any case.
  """
  specs.not_negative(lower=lower)
  if not (lower or euler_last):
    return order
  if times is None:
    raise ValueError('lower and euler_last need the timesteps.')
  left = jnp.sum(times[:-1] <= t)
  most = jnp.minimum(left, order) if len(times) <= lower else order
  return jnp.where(left == 1, 1, most) if euler_last else most


def drift(history: History, h, rate: float, **options):
  """The mean over a step of what is remembered, less the value at its start.

  options: `middle` and `halved` of quadrature.
  """
  w = quadrature(jnp.stack(history.at) - history.at[0], h, rate, **options)
  start, *others = history.values
  return sum(w[i] * (other - start) for i, other in enumerate(others, 1))


def multistep(schedule, order: int, eta: float = 0.0, *, times=None, lower: int = 0,
              euler_last: bool = False, of_eps: bool = False, clock=half_log_snr,
              rate: float = 1.0, **options) -> Solver:
  """Polynomials of x0 in lambda, DPM-Solver++, ODE and SDE; or of eps.

  The first steps, and one to or from an infinite lambda, are of lower order. With those
  of eps x_s / alpha_s = x_t / alpha_t + int eps d(sigma / alpha).

  Args:
    order: how many values a step uses.
    eta: of the noise. The SDE decays noise (1 + eta) times as fast and adds new.
    times: of all steps, for lower and euler_last: order_at.
    clock: (schedule, t) -> u, the variable of the polynomials.
    rate: d(sigma / alpha) is e^(rate u) du, up to a factor; for x0 that of eq. (7).
    options: of quadrature.
  """
  specs.between(0, 10, eta=eta)
  order_at(1.0, times, order, lower, euler_last)  # raises what there is to raise
  def step(denoise, x, x0, history, t, s, keys):
    now, then = schedule(t), schedule(s)
    value = eps_in(x, x0, now) if of_eps else x0
    history = push(history, value, clock(schedule, t))
    used = limited(history, order_at(t, times, order, lower, euler_last))
    away = drift(used, clock(schedule, s) - history.at[0], rate + eta, **options)
    mean = x0 + away
    if of_eps:  # the x0 for which the mean eps would lead to x; at alpha = 0 no drift
      mean = x0 - away * jnp.where(now[0] > 0, now[1] / now[0], 0.0)
    noise_std = (
        then[1] * jnp.sqrt(1 - sigma_ratio(now, then)**(2 * eta)) if eta else None)
    return transfer(x, mean, now, then, noise_std, keys), pop(history)
  return Solver(lambda x: empty(x, order - 1), step, stochastic=eta > 0,
                remembers=order > 1)


def dpmpp_2m(schedule, *, middle: bool = True) -> Solver:
  """DPM-Solver++(2M), arXiv:2211.01095 alg. 2.

  middle: take x0 in the middle of the step, as there; False: its exact mean.
  """
  return multistep(schedule, 2, middle=middle)


def dpmpp_2m_sde(schedule, *, eta: float = 1.0, middle: bool = True) -> Solver:
  """SDE-DPM-Solver++(2M), arXiv:2211.01095 section 5; eta is k-diffusion's."""
  return multistep(schedule, 2, eta, middle=middle)


def dpmpp_3m(schedule, *, eta: float = 0.0, halved: bool = False) -> Solver:
  """DPM-Solver++(3M), and with eta > 0 its SDE.

  halved: take half of the second difference of x0, as diffusers and k-diffusion do; the
  order is then 2.
  """
  return multistep(schedule, 3, eta, halved=halved)


def dpmpp(schedule, times=None, *, order: int = 2, eta: float = 0.0,
          middle: bool = True, lower: int = 0, euler_last: bool = False) -> Solver:
  """DPM-Solver++ of several steps as diffusers has it, of any order to 3.

  middle: as in `dpmpp_2m`, where a step is of order 2. Those of order 3 are `halved`,
  as in `dpmpp_3m`. lower, euler_last: of order_at.
  """
  specs.require(lambda n: n in (1, 2, 3), 'it must be 1, 2 or 3', order=order)
  return multistep(schedule, order, eta, times=times, middle=middle, halved=True,
                   lower=lower, euler_last=euler_last)


def eps_multistep(schedule, order: int, clock, rate: float, **options) -> Solver:
  """`multistep` of eps; raises ValueError if the order is not 1 to 4."""
  specs.require(lambda n: n in (1, 2, 3, 4), 'it must be 1, 2, 3 or 4', order=order)
  return multistep(schedule, order, of_eps=True, clock=clock, rate=rate, **options)


def deis(schedule, times=None, *, order: int = 3, lower: int = 0) -> Solver:
  """DEIS, arXiv:2204.13902: polynomials of eps in lambda."""
  return eps_multistep(schedule, order, half_log_snr, -1.0, times=times, lower=lower)


def dpm(schedule, times=None, *, order: int = 2, middle: bool = True, lower: int = 0,
        euler_last: bool = False) -> Solver:
  """DPM-Solver, arXiv:2206.00927, of several steps: `dpmpp` with eps for x0."""
  return eps_multistep(schedule, order, half_log_snr, -1.0, times=times, middle=middle,
                       halved=True, lower=lower, euler_last=euler_last)


def lms(schedule, *, order: int = 4) -> Solver:
  """Linear multistep, Adams-Bashforth for any steps: polynomials in sigma / alpha."""
  def ratio(schedule, t):
    alpha, sigma = schedule(t)
    return sigma / alpha
  return eps_multistep(schedule, order, ratio, 0.0)


def unipc(schedule, times=None, *, order: int = 2, lower: int = 0,
          b1: bool = False) -> Solver:
  """UniPC with B2(h) = e^h - 1: arXiv:2302.04867 alg. 1 and 2.

  The predictor is DPM-Solver++ of that order, to 3. What the network says of the
  prediction also corrects it, in a polynomial of one order more: a correction costs no
  evaluation. lower: of order_at. b1: B1(h) = h, where a polynomial is a line.
  """
  specs.require(lambda n: n in (1, 2, 3), 'unipc takes 1, 2 or 3', order=order)
  order_at(1.0, times, order, lower)
  def mean_away(history, h):
    away = drift(history, h, 1.0, middle=True)
    if not b1:
      return away
    line = jnp.isfinite(jnp.stack(history.at)).sum() == 2
    safe = jnp.where(jnp.isfinite(h) & (h > 0), h, 1.0)
    return away * jnp.where(line & jnp.isfinite(h), safe / -jnp.expm1(-safe), 1.0)
  def step(denoise, x, x0, state, t, s, keys):
    x_last, t_last, history = state
    now, at = schedule(t), half_log_snr(schedule, t)
    h = at - history.at[0]
    used = limited(history, order_at(t_last, times, order, lower))
    with_new = History((*used.values, x0), (*used.at, at))
    mean = history.values[0] + mean_away(with_new, h)
    corrected = transfer(x_last, mean, schedule(t_last), now)
    x = jnp.where(jnp.isfinite(h), corrected, x)
    history = pop(push(history, x0, at))
    used = limited(history, order_at(t, times, order, lower))
    mean = x0 + mean_away(used, half_log_snr(schedule, s) - at)
    return transfer(x, mean, now, schedule(s)), (x, t, history)
  return Solver(lambda x: (x, jnp.ones((), x.dtype), empty(x, order)), step,
                remembers=True)
