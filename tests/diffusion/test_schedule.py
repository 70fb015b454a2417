"""Schedules: variance, ends, direction."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import schedule

T = jnp.linspace(0, 1, 101)


@pytest.mark.parametrize('name', ['linear', 'cosine'])
def test_variance_is_preserved(name):
  alpha, sigma = schedule.SCHEDULES[name](T)
  np.testing.assert_allclose(alpha**2 + sigma**2, 1, atol=1e-6)


@pytest.mark.parametrize('name', list(schedule.SCHEDULES))
def test_from_data_to_noise(name):
  alpha, sigma = schedule.SCHEDULES[name](T)
  np.testing.assert_allclose([alpha[0], sigma[0]], [1, 0], atol=1e-6)
  np.testing.assert_allclose([alpha[-1], sigma[-1]], [0, 1], atol=0.01)
  inside = schedule.log_snr(schedule.SCHEDULES[name], T[1:-1])
  assert (jnp.diff(inside) < 0).all() and (alpha >= 0).all() and (sigma >= 0).all()


def test_linear_is_ddpm_in_continuous_time():
  """Against the product of 1 - beta over many small steps of the same beta."""
  n = 100_000
  beta = np.linspace(0.1, 20, n) / n
  product = np.sqrt(np.cumprod(1 - beta))
  for t in (0.1, 0.5, 1.0):
    alpha, _ = schedule.linear(jnp.float32(t))
    np.testing.assert_allclose(alpha, product[int(t * n) - 1], rtol=2e-3)


@pytest.mark.parametrize('name', list(schedule.SCHEDULES))
def test_slopes_are_finite_inside(name):
  slopes = jax.vmap(jax.jacfwd(schedule.SCHEDULES[name]))(T[1:-1])
  assert all(jnp.isfinite(s).all() for s in slopes)


def test_the_noise_says_nothing_of_x0_only_where_alpha_is_zero():
  assert schedule.last_time(schedule.linear, 'eps') == 1
  assert schedule.last_time(schedule.cosine, 'x0') == 1
  for name in ('cosine', 'flow'):
    last = schedule.last_time(schedule.SCHEDULES[name], 'eps')
    assert last < 1 and schedule.SCHEDULES[name](last)[0] > 1e-3
