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


def drift(history: History, h, rate: float, **options):
  """The mean over a step of what is remembered, less the value at its start.

  options: `middle` and `halved` of quadrature.
  """
  w = quadrature(jnp.stack(history.at) - history.at[0], h, rate, **options)
  start, *others = history.values
  return sum(w[i] * (other - start) for i, other in enumerate(others, 1))


def multistep(schedule, order: int, eta: float = 0.0, *, of_eps: bool = False,
              clock=half_log_snr, rate: float = 1.0, **options) -> Solver:
  """Polynomials of x0 in lambda, DPM-Solver++, ODE and SDE; or of eps.

  The first steps, and one to or from an infinite lambda, are of lower order. With those
  of eps x_s / alpha_s = x_t / alpha_t + int eps d(sigma / alpha).

  Args:
    order: how many values a step uses.
    eta: of the noise. The SDE decays noise (1 + eta) times as fast and adds new.
    clock: (schedule, t) -> u, the variable of the polynomials.
    rate: d(sigma / alpha) is e^(rate u) du, up to a factor; for x0 that of eq. (7).
    options: of quadrature.
  """
  specs.between(0, 10, eta=eta)
  def step(denoise, x, x0, history, t, s, keys):
    now, then = schedule(t), schedule(s)
    value = eps_in(x, x0, now) if of_eps else x0
    history = push(history, value, clock(schedule, t))
    away = drift(history, clock(schedule, s) - history.at[0], rate + eta, **options)
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


def eps_multistep(schedule, order: int, clock, rate: float) -> Solver:
  """`multistep` of eps; raises ValueError if the order is not 1 to 4."""
  specs.require(lambda n: n in (1, 2, 3, 4), 'it must be 1, 2, 3 or 4', order=order)
  return multistep(schedule, order, of_eps=True, clock=clock, rate=rate)


def deis(schedule, *, order: int = 3) -> Solver:
  """DEIS, arXiv:2204.13902: polynomials of eps in lambda."""
  return eps_multistep(schedule, order, half_log_snr, -1.0)


def lms(schedule, *, order: int = 4) -> Solver:
  """Linear multistep, Adams-Bashforth for any steps: polynomials in sigma / alpha."""
  def ratio(schedule, t):
    alpha, sigma = schedule(t)
    return sigma / alpha
  return eps_multistep(schedule, order, ratio, 0.0)


def unipc(schedule, *, order: int = 2) -> Solver:
  """UniPC with B2(h) = e^h - 1: arXiv:2302.04867 alg. 1 and 2.

  The predictor is DPM-Solver++ of order 2 or 3. What the network says of the prediction
  also corrects it, in a polynomial of one order more: a correction costs no evaluation.
  """
  specs.require(lambda n: n in (2, 3), 'unipc takes 2 or 3', order=order)
  def step(denoise, x, x0, state, t, s, keys):
    x_last, t_last, history = state
    now, at = schedule(t), half_log_snr(schedule, t)
    h = at - history.at[0]
    with_new = History((*history.values, x0), (*history.at, at))
    mean = history.values[0] + drift(with_new, h, 1.0, middle=True)
    corrected = transfer(x_last, mean, schedule(t_last), now)
    x = jnp.where(jnp.isfinite(h), corrected, x)
    history = pop(push(history, x0, at))
    mean = x0 + drift(history, half_log_snr(schedule, s) - at, 1.0, middle=True)
    return transfer(x, mean, now, schedule(s)), (x, t, history)
  return Solver(lambda x: (x, jnp.ones((), x.dtype), empty(x, order)), step,
                remembers=True)
