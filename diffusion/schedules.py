"""Noise schedules: how much picture and how much noise there is at each time.

A schedule maps times t in [0, 1] (0 is data, 1 is noise), f32[b] or f32[], to
(alpha, sigma) of the same shape, so that x_t = alpha x0 + sigma eps. All that matters
of it to a sampler is log(alpha^2 / sigma^2), which falls with t: the log-SNR.
"""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from diffusion import specs


def variance_preserving(log_alpha_bar):
  """(alpha, sigma) with alpha^2 + sigma^2 = 1, from log(alpha^2) <= 0."""
  return jnp.exp(log_alpha_bar / 2), jnp.sqrt(-jnp.expm1(log_alpha_bar))


def linear(t, low: float = 0.1, high: float = 20.0):
  """DDPM (arXiv:2006.11239) in continuous time, arXiv:2011.13456 eq. 33: variance
  preserving, with a linear beta from `low` to `high`. alpha is 0.0066 at t = 1."""
  return variance_preserving(-0.5 * t**2 * (high - low) - t * low)


# Straight lines from picture to noise: rectified flow, arXiv:2209.03003 eq. 1.
flow = lambda t: (1 - t, jnp.asarray(t))
# Variance exploding up to 80: arXiv:2206.00364 table 1, with its sigma = 80 t.
edm = lambda t: (jnp.ones_like(t), 80.0 * t)
# arXiv:2102.09672 eq. 17 with s = 0, which leaves no picture at t = 1. Written with
# sines only: float32 cos(pi / 2) is -4e-8, and its logarithm NaN.
cosine = lambda t: (jnp.sin(jnp.pi / 2 * (1 - t)), jnp.sin(jnp.pi / 2 * t))


def scaled_linear(t, low: float = 0.85, high: float = 12.0):
  """Stable Diffusion's: the square root of beta is linear, from `low` to `high`.

  beta = (a + c t)^2, and log(alpha^2) is minus its integral. alpha is 0.068 at t = 1.
  """
  a, c = low**0.5, high**0.5 - low**0.5
  return variance_preserving(-t * (a**2 + t * (a * c + t * c**2 / 3)))


def betas(low: float, high: float, power: int):
  """n -> beta of each of n steps, f64[n], linear in their root of this power.

  x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) eps. 0.1 to 20 with power 1 is
  arXiv:2006.11239 section 4, 0.85 to 12 with 2 is Stable Diffusion's.
  """
  return lambda n: np.linspace(low**(1 / power), high**(1 / power), n)**power / n


def cosine_betas(n: int):
  """arXiv:2102.09672 eq. 17 with s = 0.008 and betas of at most 0.999, f64[n]."""
  at = (np.linspace(0, 1, n + 1) + 0.008) / 1.008
  alpha_bar = np.cos(np.pi / 2 * at)**2
  return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


def discrete(beta):
  """The schedule of a network that was trained at the n steps of f64[n] betas.

  Step i, counted from 0, is the time t = (i + 1) / n, where alpha^2 is the product of
  1 - beta up to it. log(alpha^2) is linear from step to step, and 0 at t = 0.
  """
  if not (beta < 1).all():
    raise ValueError(f'steps is {len(beta)}, of which one would take all of the '
                     'picture; there must be more.')
  at = np.linspace(0, 1, len(beta) + 1)
  log_alpha_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-np.asarray(beta)))])
  def table(t):
    t = jnp.asarray(t)
    return variance_preserving(
        jnp.interp(t, at.astype(t.dtype), log_alpha_bar.astype(t.dtype)))
  return table


def zero_terminal(schedule, first: float = 0.0):
  """Leaves no picture at t = 1 of a schedule that preserves variance.

  arXiv:2305.08891 alg. 1: alpha becomes linear in what it was, with alpha(1) = 0, and
  alpha as before up to the time `first`: the first step, 1 / n, of a discrete one.
  """
  lost = lambda alpha, sigma: sigma**2 / (1 + alpha)  # 1 - alpha, without cancellation
  (start, sigma), (end, _) = (static_at(schedule, t) for t in (first, 1.0))
  lost_at_start = lost(start, sigma)
  def rescaled(t):
    old, sigma = schedule(t)
    alpha = start * (old - end) / (start - end)
    gone = (start * lost(old, sigma) - end * lost_at_start) / (start - end)  # 1 - alpha
    residue = jax.lax.stop_gradient(alpha)  # at t = 1, rounding; the slope stays
    alpha = alpha - jnp.where(t < 1, 0.0, residue)
    keep = t <= first
    return (jnp.where(keep, old, alpha),
            jnp.where(keep, sigma, jnp.sqrt(jnp.where(keep, 1.0, gone * (1 + alpha)))))
  return rescaled


def with_end(schedule, alpha: float):
  """A schedule that preserves variance, with another alpha at t = 1 alone."""
  def ended(t):
    at_end, (before, sigma) = jnp.asarray(t) >= 1, schedule(t)
    return (jnp.where(at_end, alpha, before),
            jnp.where(at_end, (1 - alpha**2)**0.5, sigma))
  return ended


def shifted(schedule, m: float, norm=jnp.hypot):
  """Multiplies sigma / alpha by m: more noise at every time, for larger pictures.

  Simple diffusion, arXiv:2301.11093 section 3.1. On `flow` it is Stable Diffusion 3's
  t' = m t / (1 + (m - 1) t), arXiv:2403.03206 eq. 23. m: sqrt(pixels now / pixels where
  `schedule` was tuned), unitless; 1 is identity. norm: (alpha, sigma) -> what stays 1.
  """
  def noisier(t):
    alpha, sigma = schedule(t)
    size = norm(alpha, m * sigma)
    return alpha / size, m * sigma / size
  return noisier


def static_at(schedule, t: float) -> tuple[float, float]:
  """(alpha, sigma) at a time as Python numbers, also while a program is traced."""
  with jax.ensure_compile_time_eval():
    alpha, sigma = schedule(jnp.float32(t))
    return float(alpha), float(sigma)


def log_snr(schedule, t):
  """log(alpha^2 / sigma^2); infinite where either is zero."""
  alpha, sigma = schedule(t)
  return 2 * (jnp.log(alpha) - jnp.log(sigma))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def time_from_log_snr(schedule, value):
  """The t in [0, 1] at which the log-SNR is `value`, floats of any shape.

  Floats from 0 to 1 are ordered as their bits are, so a bisection of the bits ends at
  the float itself, however small it is.
  """
  value = jnp.asarray(value, jnp.result_type(float))
  bits = jnp.int32 if value.dtype == jnp.float32 else jnp.int64
  as_time = functools.partial(jax.lax.bitcast_convert_type, new_dtype=value.dtype)
  top = jax.lax.bitcast_convert_type(jnp.ones_like(value), bits)
  def halve(_, bounds):
    low, high = bounds
    middle = low + (high - low) // 2
    early = log_snr(schedule, as_time(middle)) > value  # less noise than asked for
    return jnp.where(early, middle, low), jnp.where(early, high, middle)
  n = jnp.finfo(value.dtype).bits - 2  # bits of the float 1.0
  return as_time(jax.lax.fori_loop(0, n, halve, (jnp.zeros_like(top), top))[1])


@time_from_log_snr.defjvp
def time_from_log_snr_jvp(schedule, primals, tangents):
  """dt = d log-SNR / (log-SNR)'(t)."""
  t = time_from_log_snr(schedule, *primals)
  _, slope = jax.jvp(functools.partial(log_snr, schedule), (t,), (jnp.ones_like(t),))
  return t, tangents[0] / slope


def family(continuous, norm=jnp.hypot, betas=None):
  """A row of SCHEDULES, options -> schedule.

  continuous: the schedule without any option. norm: (alpha, sigma) -> what is 1 at all
  times. betas: n -> f64[n], of networks trained at n discrete steps; None without any.
  """
  def build(*, shift: float = 1.0, zero_snr: bool = False, steps: int = 0,
            end: float = 0.0):
    """shift: factor of sigma / alpha. zero_snr: leave no picture at t = 1, where there
    otherwise would be. steps: discrete steps of training; 0 for continuous time. end:
    alpha at t = 1 with zero_snr, for solvers that need some: 2**-12 in diffusers."""
    specs.above_zero(shift=shift)
    specs.not_negative(steps=steps)
    specs.between(0, 0.1 if zero_snr and steps else 0, end=end)
    if not betas:
      specs.require(lambda n: not n, 'this schedule has no discrete steps', steps=steps)
    schedule = discrete(betas(steps)) if steps else continuous
    if zero_snr:
      if static_at(schedule, 1.0)[0] == 0 or norm is not jnp.hypot:
        raise ValueError('zero_snr is True; this schedule has it already, or does not '
                         'preserve variance.')
      schedule = zero_terminal(schedule, 1 / steps if steps else 0.0)
    schedule = with_end(schedule, end) if end else schedule
    return shifted(schedule, shift, norm) if shift != 1 else schedule
  return build


def with_betas(continuous, power: int, usual_low: float, usual_high: float):
  """A `family` whose betas go, in their root of this power, between two options."""
  def build(*, low: float = usual_low, high: float = usual_high, shift: float = 1.0,
            zero_snr: bool = False, steps: int = 0, end: float = 0.0):
    """low, high: beta at t = 0 and 1, of all of training: a thousand times that of each
    of a thousand steps. The others: of `family`."""
    specs.between(1e-4, 1000, low=low, high=high)
    specs.require(lambda beta: beta >= low, 'it must be at least low', high=high)
    usual = low == usual_low and high == usual_high
    return family(continuous if usual else functools.partial(
        continuous, low=low, high=high), betas=betas(low, high, power))(
            shift=shift, zero_snr=zero_snr, steps=steps, end=end)
  return build


SCHEDULES = {  # options -> schedule
    'linear': with_betas(linear, 1, 0.1, 20.0),
    'scaled_linear': with_betas(scaled_linear, 2, 0.85, 12.0),
    'cosine': family(cosine, betas=cosine_betas),
    'flow': family(flow, norm=jnp.add),
    'edm': family(edm, norm=lambda alpha, sigma: alpha)}
