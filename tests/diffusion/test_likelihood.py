"""Likelihood of Gaussian data, where it is known."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion import likelihood, schedule

MEAN, COV = np.array([0.3, -0.2]), np.array([[0.25, 0.1], [0.1, 0.16]])


def denoiser(noise):
  """The best one for pixels of two correlated channels."""
  def denoise(x, t):
    alpha, sigma = noise(t)
    gain = alpha * COV @ jnp.linalg.inv(alpha**2 * COV + sigma**2 * jnp.eye(2))
    return MEAN + (x - alpha * MEAN) @ gain.T
  return denoise


@pytest.mark.parametrize('name', list(schedule.SCHEDULES))
def test_of_a_gaussian(name):
  noise = schedule.SCHEDULES[name]
  x0 = jax.random.multivariate_normal(jax.random.key(0), MEAN, COV, (512, 3, 3))
  first, top = (3e-5, 1.0) if name == 'edm' else (1e-3, 0.999)
  times = jnp.geomspace(first, top, 200) if name == 'edm' else jnp.linspace(
      first**0.5, top**0.5, 200) ** 2
  got = likelihood.log_likelihood(denoiser(noise), noise, x0, times, jax.random.key(1))
  exact = stats.multivariate_normal(MEAN, COV).logpdf(np.asarray(x0)).sum((1, 2))
  # Hutchinson's probe is one draw a picture: right in the mean, within its error.
  error = np.std(got - exact) / np.sqrt(len(x0))
  assert abs(np.mean(got - exact)) < 4 * error + 0.1
  bits = likelihood.bits_per_dim(got, (3, 3, 2))
  entropy = stats.multivariate_normal(MEAN, COV).entropy() / 2 / np.log(2)
  np.testing.assert_allclose(bits.mean(), entropy + 7, atol=0.1)  # 128 levels a unit


def test_the_trace_is_exact_where_pixels_are_alone():
  """A probe of +-1 leaves no error on a diagonal Jacobian."""
  x = jax.random.normal(jax.random.key(0), (3, 2, 2, 1))
  probe = jax.random.rademacher(jax.random.key(1), x.shape, x.dtype)
  t = jnp.float32(0.4)
  slope, trace = likelihood.slope_and_trace(
      lambda x, t: jnp.tanh(x), schedule.flow, x, t, probe)
  np.testing.assert_allclose(slope, (x - jnp.tanh(x)) / t, rtol=1e-5, atol=1e-6)
  exact = (1 - (1 - jnp.tanh(x) ** 2)) / t
  np.testing.assert_allclose(trace, exact.sum((1, 2, 3)), rtol=1e-4)


def test_bits_of_uniform_pictures():
  """Uniform over [-1, 1]: 256 levels take 8 bits."""
  log_p = jnp.full(2, 12 * np.log(0.5))
  np.testing.assert_allclose(likelihood.bits_per_dim(log_p, (2, 2, 3)), 8, rtol=1e-6)
