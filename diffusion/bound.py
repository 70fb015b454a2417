"""The variational bound of a chain of steps, by which a variance is learned.

arXiv:2006.11239 eq. 5, with a variance of its own for each value of a picture:
arXiv:2102.09672 section 3.1. Everything is in bits a dimension.
"""
import jax
import jax.numpy as jnp

from diffusion import process
from diffusion.process import over
from diffusion.solvers import steps

HALF = 1 / 255  # of the distance between two of the 256 values of a picture


def of_step(schedule, n: int, t, x0, guess, share):
  """How much more a step tells than the network knew, f32[b].

  The divergence of the network's x_s from the posterior q(x_s | x_t, x0), where s is a
  step before t; at the first step what it costs to tell the picture's own values.

  Args:
    schedule: variance preserving.
    n: how many steps it has.
    t: f32[b], of 1/n, ..., 1.
    x0: pictures [b h w c] of 256 values from -1 to 1.
    guess: what the network takes for x0.
    share: like x0, how far the logarithm of its variance is on the way from the
      posterior's to the largest: arXiv:2102.09672 eq. 15.
  """
  i = jnp.round(t * n)
  now, then = schedule(t), schedule((i - 1) / n)
  # The posterior of the first step has no variance: it takes the second one's.
  j = jnp.maximum(i, 2)
  least = 2 * jnp.log(steps.ancestral(schedule(j / n), schedule((j - 1) / n), 1.0))
  most = 2 * jnp.log(steps.largest(now, then))
  given = over(least, x0) + share * over(most - least, x0)
  gap = over(then[0] * (1 - steps.shrink(now, then) ** 2), x0) * (guess - x0)
  more = given - over(least, x0)
  divergence = 0.5 * (more - 1 + jnp.exp(-more) + gap**2 * jnp.exp(-given))
  told = -log_chance(x0, guess, given)
  each = jnp.where(over(i > 1, x0), divergence, told)
  return each.mean(tuple(range(1, x0.ndim))) / jnp.log(2)


def log_chance(x0, mean, log_variance):
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


def prior(schedule, x0):
  """What is still known of pictures [b h w c] at the last step, f32[b]."""
  alpha, sigma = schedule(jnp.float32(1))
  each = 0.5 * ((alpha * x0) ** 2 + sigma**2 - 1) - jnp.log(sigma)
  return each.mean(tuple(range(1, x0.ndim))) / jnp.log(2)


def total(denoise, schedule, n: int, x0, key):
  """The whole bound of pictures [b h w c], f32[b]: n evaluations.

  Args:
    denoise: (x, t f32[]) -> (x0, share), each like x.
  """
  def step(bits, i):
    t = jnp.full(len(x0), i / n)
    eps = jax.random.normal(jax.random.fold_in(key, i), x0.shape)
    guess, share = denoise(process.add_noise(x0, eps, *schedule(t)), i / n)
    return bits + of_step(schedule, n, t, x0, guess, share), None
  return jax.lax.scan(step, prior(schedule, x0), jnp.arange(1, n + 1))[0]
