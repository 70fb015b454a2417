"""The variational bound of a chain of steps, by which a variance is learned.

arXiv:2006.11239 eq. 5, with a variance of its own for each value of a picture:
arXiv:2102.09672 section 3.1. Everything is in bits a dimension.
"""
import jax
import jax.numpy as jnp

from diffusion import posterior, process
from diffusion.process import append_dims

HALF = 1 / 255  # of the distance between two of the 256 values of a picture


def step_kl(schedule, num_steps: int, t, x0, x0_pred, frac):
  """How much more a step tells than the network knew, f32[b].

  The divergence of the network's x_s from the posterior q(x_s | x_t, x0), eq. (3) of
  process.py, where s is a step before t; at the first step the negative log-likelihood
  of the picture's own values.

  Args:
    schedule: variance preserving.
    t: f32[b], of 1 / num_steps, ..., 1.
    x0: pictures [b h w c] of 256 values from -1 to 1.
    x0_pred: what the network takes for x0.
    frac: like x0, how far the logarithm of its variance is on the way from the
      posterior's to the largest: arXiv:2102.09672 eq. 15.
  """
  i = jnp.round(t * num_steps)
  now, then = schedule(t), schedule((i - 1) / num_steps)
  # The posterior of the first step has no variance: it takes the second one's.
  j = jnp.maximum(i, 2)
  ends = schedule(j / num_steps), schedule((j - 1) / num_steps)
  low = 2 * jnp.log(posterior.posterior_std(*ends, 1.0))
  high = 2 * jnp.log(posterior.beta_std(now, then))
  log_variance = append_dims(low, x0) + frac * append_dims(high - low, x0)
  x0_scale = then[0] * (1 - posterior.sigma_ratio(now, then) ** 2)
  gap = append_dims(x0_scale, x0) * (x0_pred - x0)
  excess = log_variance - append_dims(low, x0)
  kl = 0.5 * (excess - 1 + jnp.exp(-excess) + gap**2 * jnp.exp(-log_variance))
  nll = -discretized_log_likelihood(x0, x0_pred, log_variance)
  each = jnp.where(append_dims(i > 1, x0), kl, nll)
  return each.mean(tuple(range(1, x0.ndim))) / jnp.log(2)


def discretized_log_likelihood(x0, mean, log_variance):
  """log of a normal's chance of the values x0, like x0: arXiv:2006.11239 eq. 13.

  A value stands for what is nearest to it; the first and the last for all beyond them.
  """
  std = jnp.exp(log_variance / 2)
  low = jnp.where(x0 < -1 + HALF, -jnp.inf, (x0 - HALF - mean) / std)
  high = jnp.where(x0 > 1 - HALF, jnp.inf, (x0 + HALF - mean) / std)
  right = low > 0  # turned to the left tail, where a small chance keeps its digits
  low, high = jnp.where(right, -high, low), jnp.where(right, -low, high)
  ndtr = jax.scipy.special.ndtr
  return jnp.log(jnp.maximum(ndtr(high) - ndtr(low), 1e-12))


def prior_kl(schedule, x0):
  """What is still known of pictures [b h w c] at the last step, f32[b]."""
  alpha, sigma = schedule(jnp.float32(1))
  each = 0.5 * ((alpha * x0) ** 2 + sigma**2 - 1) - jnp.log(sigma)
  return each.mean(tuple(range(1, x0.ndim))) / jnp.log(2)


def total(denoise, schedule, num_steps: int, x0, key):
  """The whole bound of pictures [b h w c], f32[b]: num_steps evaluations of denoise,
  (x, t f32[]) -> (x0, frac), each like x."""
  def step(bits, i):
    t = jnp.full(len(x0), i / num_steps)
    eps = jax.random.normal(jax.random.fold_in(key, i), x0.shape)
    x_t = process.add_noise(x0, eps, *schedule(t))
    x0_pred, frac = denoise(x_t, i / num_steps)
    return bits + step_kl(schedule, num_steps, t, x0, x0_pred, frac), None
  return jax.lax.scan(step, prior_kl(schedule, x0), jnp.arange(1, num_steps + 1))[0]
