"""One algebra: every conversion and every weight agrees with every other."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import process, schedule

X0 = jax.random.uniform(jax.random.key(0), (9, 4, 4, 3), minval=-1)
EPS = jax.random.normal(jax.random.key(1), X0.shape)
T = jnp.linspace(0.05, 0.95, 9)
PAIRS = [(s, k) for s in schedule.SCHEDULES for k in process.ROWS]


@pytest.mark.parametrize('name, kind', PAIRS)
def test_a_perfect_prediction_gives_back_picture_and_noise(name, kind):
  alpha, sigma = schedule.SCHEDULES[name](T)
  x_t = process.add_noise(X0, EPS, alpha, sigma)
  perfect = process.target(kind, X0, EPS, alpha, sigma)
  x0 = process.to_x0(kind, perfect, x_t, alpha, sigma)
  slack = 3e-6 * float(jnp.maximum(1 / alpha, sigma / alpha).max())
  np.testing.assert_allclose(x0, X0, atol=slack)
  np.testing.assert_allclose(process.to_eps(X0, x_t, alpha, sigma), EPS, atol=1e-4)


@pytest.mark.parametrize('name, kind', PAIRS)
def test_weights_turn_an_error_of_x0_into_that_of_the_target(name, kind):
  alpha, sigma = schedule.SCHEDULES[name](T)
  x_t = process.add_noise(X0, EPS, alpha, sigma)
  wrong = X0 + 0.1
  as_target = process.target(
      kind, wrong, process.to_eps(wrong, x_t, alpha, sigma), alpha, sigma)
  perfect = process.target(kind, X0, EPS, alpha, sigma)
  error = jnp.square(as_target - perfect).mean((1, 2, 3))
  np.testing.assert_allclose(
      error, process.x0_weight(kind, alpha, sigma) * 0.01, rtol=2e-3)


def test_flow_is_the_slope_of_its_path():
  x_t = lambda t: process.add_noise(X0, EPS, *schedule.flow(t))
  slope = jax.jvp(x_t, (T,), (jnp.ones_like(T),))[1]
  np.testing.assert_allclose(
      slope, process.target('flow', X0, EPS, *schedule.flow(T)), atol=1e-6)


def test_v_is_the_slope_of_the_cosine_path():
  """arXiv:2202.00512, appendix D: d x / d phi with phi = pi t / 2."""
  x_t = lambda t: process.add_noise(X0, EPS, *schedule.cosine(t))
  slope = jax.jvp(x_t, (T,), (jnp.ones_like(T),))[1] / (jnp.pi / 2)
  np.testing.assert_allclose(
      slope, process.target('v', X0, EPS, *schedule.cosine(T)), atol=1e-5)
