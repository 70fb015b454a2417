"""The forward process, and what a network may be asked to predict of it.

Every target is a row target = a x0 + b eps; with x_t = alpha x0 + sigma eps, each
conversion is the solution of a 2x2 system, and each loss weight follows from it.
"""
import jax.numpy as jnp

ROWS = {  # (alpha, sigma) -> (a, b)
    'x0': lambda alpha, sigma: (1.0, 0.0),
    'eps': lambda alpha, sigma: (0.0, 1.0),     # arXiv:2006.11239
    'v': lambda alpha, sigma: (-sigma, alpha),  # arXiv:2202.00512, with its sign turned
    'flow': lambda alpha, sigma: (-1.0, 1.0),   # arXiv:2210.02747, the slope of `flow`
}


def over(values, x):
  """Appends axes to f32[b] (or f32[]) so that it multiplies x [b ...]."""
  values = jnp.asarray(values, jnp.float32)
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def add_noise(x0, eps, alpha, sigma):
  """x_t = alpha x0 + sigma eps. x0, eps: [b h w c]; alpha, sigma: f32[b] or f32[]."""
  return over(alpha, x0) * x0 + over(sigma, x0) * eps


def target(kind: str, x0, eps, alpha, sigma):
  """What a perfect network of this kind returns at x_t."""
  a, b = ROWS[kind](alpha, sigma)
  return over(a, x0) * x0 + over(b, x0) * eps


def to_x0(kind: str, pred, x_t, alpha, sigma):
  """Solves for x0. Not defined at sigma = 0, nor for eps at alpha = 0."""
  a, b = ROWS[kind](alpha, sigma)
  return (over(b, x_t) * x_t - over(sigma, x_t) * pred) / over(
      b * alpha - a * sigma, x_t)


def to_eps(x0, x_t, alpha, sigma):
  """The noise that goes with a picture. Not defined at sigma = 0."""
  return (x_t - over(alpha, x_t) * x0) / over(sigma, x_t)


def x0_weight(kind: str, alpha, sigma):
  """Weight w with w |x0 - x0'|^2 = |target - target'|^2 at the same x_t, f32[b].

  The error of eps is -alpha / sigma times that of x0, so that of a x0 + b eps is
  (a - b alpha / sigma) times.
  """
  a, b = ROWS[kind](alpha, sigma)
  return jnp.square(a - b * alpha / sigma)
