"""The training loss, given the noise and the time that were drawn.

A weight is a function of log-SNR, log(alpha^2 / sigma^2), and multiplies the square
error of x0, whatever the network predicts and whatever the schedule: what it does can
be compared, plotted (plan.py --weights) and right for every target.
"""
import jax
import jax.numpy as jnp

from diffusion import process


def of_target(row):
  """Makes the loss the plain mean square of a target, whatever is predicted."""
  def weight(log_snr):  # the same on any schedule, so taken where variance is kept
    alpha, sigma = jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))
    return process.x0_weight(row, alpha, sigma)
  return weight


def min_snr(gamma: float = 5.0):
  """min(SNR, gamma): arXiv:2303.09556 eq. 8."""
  return lambda log_snr: jnp.minimum(jnp.exp(log_snr), gamma)


def soft_min_snr(gamma: float = 5.0):
  """SNR gamma / (SNR + gamma): min_snr without its corner, arXiv:2401.11605 eq. 4."""
  return lambda log_snr: gamma * jax.nn.sigmoid(log_snr - jnp.log(gamma))


def p2(gamma: float = 1.0, k: float = 1.0):
  """SNR / (k + SNR)^gamma: arXiv:2204.00227 eq. 8, on top of the error of eps."""
  return lambda log_snr: jnp.exp(
      log_snr - gamma * jnp.logaddexp(jnp.log(k), log_snr))


def sigmoid(bias: float = 0.0):
  """sigmoid(bias - log_snr) on the error of eps: arXiv:2303.00848, arXiv:2410.19324.

  Published with `per` log-SNR, see training.loss.
  """
  return lambda log_snr: jnp.exp(log_snr) * jax.nn.sigmoid(bias - log_snr)


WEIGHTS = {  # options -> (log_snr -> weight); those of targets come from of_target
    'min_snr': min_snr, 'soft_min_snr': soft_min_snr, 'p2': p2, 'sigmoid': sigmoid}


def loss(predict, schedule, row, weight, x0, t, eps, bound=None):
  """The weighted mean square error of each picture, f32[b].

  Args:
    predict: (x_t [b h w c], t f32[b]) -> prediction of the target `row`, and what
      there may be beyond it.
    schedule: t -> (alpha, sigma).
    row: of process.ROWS.
    weight: log_snr f32[b] -> weight of the square error of x0, f32[b].
    x0: pictures f32[b h w c] in [-1, 1].
    t: f32[b], above 0.
    eps: standard normal, like x0.
    bound: (t, x0, guess of x0, learned variance from 0 to 1) -> what is added to the
      loss f32[b] and changes the variance alone: arXiv:2102.09672 eq. 16.
  """
  alpha, sigma = schedule(t)
  x_t = process.add_noise(x0, eps, alpha, sigma)
  pred, beyond = process.parts(predict(x_t, t).astype(jnp.float32), x0)
  error = jnp.square(pred - process.target(row, x0, eps, alpha, sigma))
  log_snr = 2 * (jnp.log(alpha) - jnp.log(sigma))
  ratio = weight(log_snr) / process.x0_weight(row, alpha, sigma)
  each = ratio * error.mean(tuple(range(1, x0.ndim)))
  if bound is None:
    return each
  guess = jax.lax.stop_gradient(process.to_x0(row, pred, x_t, alpha, sigma))
  return each + bound(t, x0, guess, (beyond + 1) / 2)
