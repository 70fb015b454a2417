"""The forward process, and what a network may be asked to predict of it.

The equations of this folder. Time t is in [0, 1], 0 is data and 1 is noise, s another
time; a schedule gives alpha and sigma at each; eps and z are standard normal.

  Marginal, arXiv:2107.00630 eq. 1; the log-SNR is log(alpha^2 / sigma^2):
    (1)  x_t = alpha_t x0 + sigma_t eps
  x_t given an earlier x_s, s < t, arXiv:2107.00630 appendix A:
    (2)  x_t = k x_s + sqrt(sigma_t^2 - k^2 sigma_s^2) z,  k = alpha_t / alpha_s
  x_s given x_t and x0 with eta = 1, arXiv:2006.11239 eq. 6; any eta in [0, 1] has the
  same marginals, arXiv:2010.02502 eq. 7; r is the ratio of sigma / alpha at s and t:
    (3)  x_s = alpha_s x0 + sqrt(sigma_s^2 - std^2) eps + std z
    (4)  std = eta sigma_s sqrt(1 - r^2),  r = (sigma_s / alpha_s) / (sigma_t / alpha_t)
  Probability-flow ODE, arXiv:2011.13456 eq. 13; alpha', sigma' are slopes in t:
    (5)  dx/dt = alpha' E[x0 | x] + sigma' E[eps | x]
  with f = alpha' / alpha and g^2 = (sigma^2)' - 2 f sigma^2 it is that of the SDE whose
  score is -E[eps | x] / sigma, arXiv:2011.13456 eq. 6:
    (6)  dx = (f x - g^2 score) dt + g dw,  from t = 1 down to 0
  The ODE solved in lambda = log(alpha / sigma), arXiv:2211.01095 prop. 4.1:
    (7)  x_s = (sigma_s / sigma_t) x_t + alpha_s int e^(lambda - lambda_s) x0 d lambda
  Every target is a row, and with (1) every conversion solves a 2x2 system:
    (8)  target = a x0 + b eps
    (9)  |target - target'|^2 = (a - b alpha / sigma)^2 |x0 - x0'|^2  at the same x_t
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from diffusion import specs
from diffusion.schedules import static_at


class Process(NamedTuple):
  """What is done to pictures, and what the network is asked of it.

  `precondition`, predict -> predict, gives the network as the process calls it: where
  it is to see its input at unit variance, that input is scaled.
  """
  schedule: Callable    # t -> (alpha, sigma)
  target: Callable      # (alpha, sigma) -> (a, b) of eq. (8)
  num_steps: int = 0    # discrete steps of its training; 0 if time is continuous
  t_max: float = 1.0    # largest t at which the target determines x0
  precondition: Callable = lambda predict: predict

  def add_noise(self, x0, eps, t):
    """Eq. (1) at the times t, f32[b] or f32[]."""
    return add_noise(x0, eps, *self.schedule(t))


x0 = lambda alpha, sigma: (1.0, 0.0)
eps = lambda alpha, sigma: (0.0, 1.0)  # arXiv:2006.11239
flow = lambda alpha, sigma: (-1.0, 1.0)  # slope of that schedule, arXiv:2210.02747


def v(alpha, sigma):
  """alpha eps - sigma x0: arXiv:2202.00512; normalised where variance is not kept."""
  norm = jnp.hypot(alpha, sigma)
  return -sigma / norm, alpha / norm


def edm(data_std: float = 0.5):
  """The network F of arXiv:2206.00364 eq. 7 and table 1, for any alpha and sigma.

  x0 = c_skip x_t + c_out F, solved for F. With data_std 1 it is -v.
  """
  specs.above_zero(data_std=data_std)
  def target(alpha, sigma):
    norm = jnp.hypot(sigma, data_std * alpha)
    return sigma / (data_std * norm), -data_std * alpha / norm
  return target


TARGETS = {  # options -> target: (alpha, sigma) -> (a, b)
    'x0': lambda: x0, 'eps': lambda: eps, 'flow': lambda: flow, 'v': lambda: v,
    'edm': edm}


def t_max(schedule, target) -> float:
  """Largest t at which this target determines x0 (eps does not at alpha = 0)."""
  alpha, sigma = static_at(schedule, 1.0)
  with jax.ensure_compile_time_eval():
    a, b = target(alpha, sigma)
    return 1.0 if b * alpha != a * sigma else 0.996


def append_dims(values, x):
  """f32[b] (or f32[]) with axes appended so that it multiplies x [b ...]."""
  values = jnp.asarray(values)
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def split_variance(pred, x):
  """(prediction [b h w c], what is beyond it, of the variance, [b h w 0 or c])."""
  return pred[..., :x.shape[-1]], pred[..., x.shape[-1]:]


def add_noise(x0, eps, alpha, sigma):
  """Eq. (1). x0, eps: [b h w c]; alpha, sigma: f32[b] or f32[]."""
  return append_dims(alpha, x0) * x0 + append_dims(sigma, x0) * eps


def target_value(target, x0, eps, alpha, sigma):
  """Eq. (8): what a perfect network returns at x_t, [b h w c]."""
  a, b = target(alpha, sigma)
  return append_dims(a, x0) * x0 + append_dims(b, x0) * eps


def convert(source, target, pred, x_t, alpha, sigma):
  """A prediction of the target `source` as that of `target`, at the same x_t.

  Solves (1) and (8) for (x0, eps) and recombines. The determinant b alpha - a sigma of
  eps vanishes at alpha = 0, where noise says nothing of the picture, and that of x0 at
  sigma = 0; never convert from them there.
  """
  (a, b), (c, d) = source(alpha, sigma), target(alpha, sigma)
  det = b * alpha - a * sigma
  return (append_dims((c * b - d * a) / det, x_t) * x_t
          + append_dims((d * alpha - c * sigma) / det, x_t) * pred)


def to_x0(target, pred, x_t, alpha, sigma):
  """The picture that a prediction leads to, [b h w c]."""
  return convert(target, x0, pred, x_t, alpha, sigma)


def to_eps(x0, x_t, alpha, sigma):
  """The eps that goes with a picture, by (1). Not defined at sigma = 0."""
  return (x_t - append_dims(alpha, x_t) * x0) / append_dims(sigma, x_t)


def x0_weight(target, alpha, sigma):
  """The factor of eq. (9), f32[b]; it depends on alpha / sigma alone."""
  a, b = target(alpha, sigma)
  return jnp.square(a - b * alpha / sigma)


def preconditioned(predict, schedule, data_std: float):
  """A network that is shown x_t at unit variance, for data of this spread.

  It sees x_t / std(x_t): c_in of arXiv:2206.00364 table 1.
  """
  def scaled(x, t, *context):
    alpha, sigma = schedule(t)
    scale = 1 / jnp.hypot(sigma, data_std * alpha)
    return predict(x * append_dims(scale, x), t, *context)
  return scaled
