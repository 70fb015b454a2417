"""What is between two times: one Gaussian given another, and the ODE.

Written with (alpha, sigma), each f32[], at both times, so that any schedule will do:
`now` at t, where a step starts, `then` at s, where it ends. Equations: process.py.
"""
import jax
import jax.numpy as jnp

from diffusion.schedules import log_snr


def noise_like(keys, x):
  """All noise of solvers: standard normal like x [b ...], a key [b] a picture."""
  return jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], x.dtype))(keys)


def eps_in(x, x0, now):
  """eps in x = alpha x0 + sigma eps, eq. (1)."""
  alpha, sigma = now
  return (x - alpha * x0) / sigma


def transfer(x, x0, now, then, noise_std=None, keys=None):
  """Eq. (3): keeps x0 and its noise eps, and changes their shares.

  Without new noise it is the exact solution of the ODE (7) for an x0 that does not
  change along the step. x, x0: [b h w c]. noise_std: standard deviation of the new
  noise, in [0, sigma_s]; None draws none.
  """
  x = then[0] * x0 + kept_std(then[1], noise_std) * eps_in(x, x0, now)
  return x if noise_std is None else x + noise_std * noise_like(keys, x)


def kept_std(sigma, noise_std):
  """Standard deviation of the noise that is kept: sqrt(sigma^2 - noise_std^2)."""
  if noise_std is None:
    return sigma
  return jnp.sqrt(jnp.maximum(sigma**2 - noise_std**2, 0.0))


def sigma_ratio(now, then):
  """r of eq. (4): sigma / alpha at the end over that at the start, in [0, 1)."""
  (alpha, sigma), (alpha_s, sigma_s) = now, then
  return alpha * sigma_s / (alpha_s * sigma)


def posterior_std(now, then, eta: float):
  """Eq. (4): DDIM's new noise, the whole posterior's at eta = 1; None at eta = 0."""
  return eta * then[1] * jnp.sqrt(1 - sigma_ratio(now, then)**2) if eta else None


def beta_std(now, then):
  """Standard deviation of x_s given x_t where pictures are standard normal.

  Its square is beta where variance is preserved; that of `posterior_std` with eta = 1
  is beta tilde, right where all pictures are one: arXiv:2006.11239 section 3.2.
  """
  # Noise of x_t that x_s lacks, times the share of it that x_t does not tell.
  lacking = now[1] * jnp.sqrt(1 - sigma_ratio(now, then)**2)
  return lacking * jnp.hypot(*then) / jnp.hypot(*now)


def renoise(x, now, then, keys, noise: float = 1.0):
  """Eq. (2): x at a time s >= t from x at t. noise: factor of what is added."""
  kept = jnp.where(now[0] > 0, then[0] / now[0], 1.0)
  added = jnp.sqrt(jnp.maximum(then[1]**2 - (kept * now[1]) ** 2, 0.0))
  return kept * x + noise * added * noise_like(keys, x)


def velocity(schedule, x, x0, t):
  """dx/dt of the ODE, eq. (5)."""
  now, (d_alpha, d_sigma) = jax.jvp(schedule, (t,), (jnp.ones_like(t),))
  return d_alpha * x0 + d_sigma * eps_in(x, x0, now)


def half_log_snr(schedule, t):
  """lambda = log(alpha / sigma), the clock of DPM-Solver, arXiv:2206.00927."""
  return log_snr(schedule, t) / 2
