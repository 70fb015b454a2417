"""The forward process, and what a network may be asked to predict of it.

Every target is a row target = a x0 + b eps; with x_t = alpha x0 + sigma eps, each
conversion is the solution of a 2x2 system, and each loss weight follows from it.
"""
import jax.numpy as jnp


def edm(data_std: float = 0.5):
  """The network F of arXiv:2206.00364 eq. 7 and table 1, for any alpha and sigma.

  x0 = c_skip x_t + c_out F, solved for F. With data_std 1 it is -v.
  """
  def row(alpha, sigma):
    norm = jnp.hypot(sigma, data_std * alpha)
    return sigma / (data_std * norm), -data_std * alpha / norm
  return row


def v(alpha, sigma):
  """arXiv:2202.00512 with its sign turned; normalised where variance is not kept."""
  norm = jnp.hypot(alpha, sigma)
  return -sigma / norm, alpha / norm


ROWS = {  # (alpha, sigma) -> (a, b)
    'x0': lambda alpha, sigma: (1.0, 0.0),
    'eps': lambda alpha, sigma: (0.0, 1.0),    # arXiv:2006.11239
    'v': v,
    'flow': lambda alpha, sigma: (-1.0, 1.0),  # arXiv:2210.02747, the slope of `flow`
    'edm': edm(),
}


def over(values, x):
  """Appends axes to f32[b] (or f32[]) so that it multiplies x [b ...]."""
  values = jnp.asarray(values, jnp.float32)
  return values.reshape(values.shape + (1,) * (x.ndim - values.ndim))


def parts(predicted, x):
  """What is predicted of x [b h w c], like it, and what beyond: of its variance."""
  return predicted[..., :x.shape[-1]], predicted[..., x.shape[-1]:]


def add_noise(x0, eps, alpha, sigma):
  """x_t = alpha x0 + sigma eps. x0, eps: [b h w c]; alpha, sigma: f32[b] or f32[]."""
  return over(alpha, x0) * x0 + over(sigma, x0) * eps


def target(row, x0, eps, alpha, sigma):
  """What a perfect network of this row returns at x_t."""
  a, b = row(alpha, sigma)
  return over(a, x0) * x0 + over(b, x0) * eps


def convert(row, to, pred, x_t, alpha, sigma):
  """A prediction of one row as the prediction of another, at the same x_t.

  Solves for (x0, eps) and recombines, without dividing by more than the system's own
  determinant b alpha - a sigma: that of eps vanishes at alpha = 0, where noise says
  nothing of the picture, and that of x0 at sigma = 0; never convert from them there.
  """
  (a, b), (c, d) = row(alpha, sigma), to(alpha, sigma)
  det = b * alpha - a * sigma
  return (over((c * b - d * a) / det, x_t) * x_t
          + over((d * alpha - c * sigma) / det, x_t) * pred)


def to_x0(row, pred, x_t, alpha, sigma):
  """The picture that a prediction leads to."""
  return convert(row, ROWS['x0'], pred, x_t, alpha, sigma)


def to_eps(x0, x_t, alpha, sigma):
  """The noise that goes with a picture. Not defined at sigma = 0."""
  return (x_t - over(alpha, x_t) * x0) / over(sigma, x_t)


def x0_weight(row, alpha, sigma):
  """Weight w with w |x0 - x0'|^2 = |target - target'|^2 at the same x_t, f32[b].

  The error of eps is -alpha / sigma times that of x0, so that of a x0 + b eps is
  (a - b alpha / sigma) times. For each row it depends on alpha / sigma alone.
  """
  a, b = row(alpha, sigma)
  return jnp.square(a - b * alpha / sigma)


def input_scale(alpha, sigma, data_std: float = 0.5):
  """1 / std(x_t) for data of this spread: c_in of arXiv:2206.00364 table 1."""
  return 1 / jnp.hypot(sigma, data_std * alpha)


def scaled(predict, schedule, data_std: float = 0.5):
  """A network that sees x_t at unit variance: predict -> predict."""
  def seen(x, t, *context):
    return predict(x * over(input_scale(*schedule(t), data_std), x), t, *context)
  return seen
