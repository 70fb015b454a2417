"""Densities of the time at which a training picture is noised.

A density is its quantile function: uniform u in (0, 1) -> t in (0, 1). It follows that
any density can be stratified: the i-th of b pictures draws its u from the i-th of b
equal slices, which takes most of the noise out of the mean loss.
"""
import jax
import jax.numpy as jnp


def uniform(u):
  return u


def logit_normal(u, mean: float = 0.0, std: float = 1.0):
  """logit(t) is normal: Stable Diffusion 3, arXiv:2403.03206 eq. 19.

  A resolution shift by m (eq. 23 there) adds log(m) to `mean`.
  """
  return jax.nn.sigmoid(mean + std * jax.scipy.special.ndtri(u))


DENSITIES = {'uniform': uniform, 'logit_normal': logit_normal}


def draw(density, key, n: int, stratified: bool = True):
  """Draws n times, f32[n] in [1e-5, 1 - 1e-5]."""
  u = jax.random.uniform(key, (n,))
  if stratified:
    u = (u + jnp.arange(n)) / n
  return jnp.clip(density(jnp.clip(u, 1e-6, 1 - 1e-6)), 1e-5, 1 - 1e-5)
