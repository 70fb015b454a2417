"""Data of which all is known: exact denoisers, paths and densities on any schedule.

Values are independent normals, or pictures a mixture of such; so everything that a
trained network is an estimate of has a closed form.
"""
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from diffusion.process import append_dims


class Gaussian(NamedTuple):
  """x0 = mean + std z. mean, std: anything that broadcasts against x [b h w c]."""
  mean: Any = 0.0
  std: Any = 1.0

  def marginal(self, schedule, t, x) -> tuple[Any, Any]:
    """(mean, std) of x_t, as they broadcast against x [b h w c]; t: f32[] or f32[b]."""
    alpha, sigma = (append_dims(v, x) for v in schedule(t))
    return alpha * self.mean, jnp.sqrt(alpha**2 * self.std**2 + sigma**2)

  def denoiser(self, schedule):
    """(x, t) -> E[x0 | x_t = x]."""
    def denoise(x, t):
      mean, std = self.marginal(schedule, t, x)
      alpha = append_dims(schedule(t)[0], x)
      return self.mean + alpha * self.std**2 / std**2 * (x - mean)
    return denoise

  def flow(self, schedule, x, t, s):
    """Where the ODE takes x from time t to s: (x - mean) / std stays as it is."""
    (mean, std), (mean_s, std_s) = (self.marginal(schedule, u, x) for u in (t, s))
    return mean_s + std_s / std * (x - mean)

  def log_density(self, x):
    """log p(x0 = x) of each value, like x, in nats."""
    z = (x - self.mean) / self.std
    return -0.5 * z**2 - jnp.log(self.std * math.sqrt(2 * math.pi))

  def entropy(self):
    """Of a value, in nats."""
    return 0.5 + jnp.log(self.std * math.sqrt(2 * math.pi))


class Mixture(NamedTuple):
  """Pictures of k modes, each with its share and the same std."""
  means: Any   # [k h w c], as it broadcasts
  std: Any     # a number
  shares: Any  # f32[k]

  def denoiser(self, schedule):
    """(x [b h w c], t) -> E[x0 | x_t = x]."""
    def denoise(x, t):
      x = x[:, None]                                               # [b 1 h w c]
      alpha, sigma = (append_dims(v, x) for v in schedule(t))
      variance = alpha**2 * self.std**2 + sigma**2
      apart = x - alpha * self.means                               # [b k h w c]
      logits = jnp.log(self.shares) - (apart**2 / (2 * variance)).sum((2, 3, 4))
      each = self.means + alpha * self.std**2 / variance * apart
      return (append_dims(jax.nn.softmax(logits), each) * each).sum(1)
    return denoise
