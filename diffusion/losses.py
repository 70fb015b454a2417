"""The training loss, given the noise and the time that were drawn.

A weight is a function of log-SNR, log(alpha^2 / sigma^2), and multiplies the squared
error of x0, whatever the network predicts and whatever the schedule: what it does can
be compared, plotted (plan.py --loss_weights) and right for every target.
"""
import functools

import jax
import jax.numpy as jnp

from diffusion import process as processes, specs
from diffusion.process import Process


def target_weight(target):
  """Weight under which the loss is the plain MSE of `target`, whatever is predicted."""
  def weight(log_snr):  # the same on any schedule, so taken where variance is kept
    alpha, sigma = jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))
    return processes.x0_weight(target, alpha, sigma)
  return weight


def min_snr(gamma: float = 5.0):
  """min(SNR, gamma): arXiv:2303.09556 eq. 8."""
  specs.above_zero(gamma=gamma)
  return lambda log_snr: jnp.minimum(jnp.exp(log_snr), gamma)


def soft_min_snr(gamma: float = 5.0):
  """SNR gamma / (SNR + gamma): min_snr without its corner, arXiv:2401.11605 eq. 4."""
  specs.above_zero(gamma=gamma)
  return lambda log_snr: gamma * jax.nn.sigmoid(log_snr - jnp.log(gamma))


def p2(gamma: float = 1.0, k: float = 1.0):
  """SNR / (k + SNR)^gamma: arXiv:2204.00227 eq. 8, on top of the error of eps."""
  specs.not_negative(gamma=gamma)
  specs.above_zero(k=k)
  return lambda log_snr: jnp.exp(log_snr - gamma * jnp.logaddexp(jnp.log(k), log_snr))


def sigmoid(bias: float = 0.0):
  """sigmoid(bias - log_snr) on the error of eps, published for a mean over log-SNR
  (time_sampling.LOSS_OVER): arXiv:2303.00848, arXiv:2410.19324."""
  return lambda log_snr: jnp.exp(log_snr) * jax.nn.sigmoid(bias - log_snr)


LOSS_WEIGHTS = {  # options -> (log_snr -> weight); those of targets: `weights`
    'min_snr': min_snr, 'soft_min_snr': soft_min_snr, 'p2': p2, 'sigmoid': sigmoid}


def weights():
  """LOSS_WEIGHTS and the `target_weight` of each row of process.TARGETS."""
  def of(target):  # `wraps`: with the options of the target
    return functools.wraps(target)(lambda **options: target_weight(target(**options)))
  return LOSS_WEIGHTS | {name: of(row) for name, row in processes.TARGETS.items()}


def denoising_terms(predict, process: Process, loss_weight, x0, t, eps,
                    vlb=None) -> dict:
  """{'mse': f32[b], the weighted mean squared error; 'vlb': f32[b], if it is given}.

  Args:
    predict: (x_t [b h w c], t f32[b]) -> the target of the process, and what there may
      be beyond it; as `process.precondition` returns it.
    loss_weight: log_snr f32[b] -> weight of the squared error of x0, f32[b].
    x0: pictures f32[b h w c] in [-1, 1]. eps: standard normal, like x0.
    t: f32[b], above 0.
    vlb: (t, x0, x0_pred, frac from 0 to 1) -> f32[b], of the learned variance alone:
      arXiv:2102.09672 eq. 16.
  """
  alpha, sigma = process.schedule(t)
  x_t = processes.add_noise(x0, eps, alpha, sigma)
  pred, variance = processes.split_variance(predict(x_t, t).astype(jnp.float32), x0)
  target = processes.target_value(process.target, x0, eps, alpha, sigma)
  log_snr = 2 * (jnp.log(alpha) - jnp.log(sigma))
  ratio = loss_weight(log_snr) / processes.x0_weight(process.target, alpha, sigma)
  mse = jnp.square(pred - target).mean(tuple(range(1, x0.ndim)))
  terms = {'mse': ratio * mse}
  if vlb:
    x0_pred = processes.to_x0(process.target, pred, x_t, alpha, sigma)
    terms['vlb'] = vlb(t, x0, jax.lax.stop_gradient(x0_pred), (variance + 1) / 2)
  return terms
