"""Likelihood of Gaussian data, where it is known."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion import likelihood, schedules
from diffusion.gaussian import Gaussian

MEAN, COV = np.array([0.3, -0.2]), np.array([[0.25, 0.1], [0.1, 0.16]])


def denoiser(schedule):
  """The best one for pixels of two correlated channels: independent ones, turned."""
  variances, turn = np.linalg.eigh(COV)
  apart = Gaussian(MEAN @ turn, np.sqrt(variances)).denoiser(schedule)
  return lambda x, t: apart(x @ turn, t) @ turn.T


@pytest.mark.parametrize('name', list(schedules.SCHEDULES))
def test_of_a_gaussian(name):
  schedule = schedules.SCHEDULES[name]()
  x0 = jax.random.multivariate_normal(jax.random.key(0), MEAN, COV, (512, 3, 3))
  first, top = (3e-5, 1.0) if name == 'edm' else (1e-3, 0.999)
  times = jnp.geomspace(first, top, 200) if name == 'edm' else jnp.linspace(
      first**0.5, top**0.5, 200) ** 2
  got = likelihood.log_likelihood(
      denoiser(schedule), schedule, x0, times, jax.random.key(1))
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
      lambda x, t: jnp.tanh(x), schedules.flow, x, t, probe)
  np.testing.assert_allclose(slope, (x - jnp.tanh(x)) / t, rtol=1e-5, atol=1e-6)
  exact = (1 - (1 - jnp.tanh(x) ** 2)) / t
  np.testing.assert_allclose(trace, exact.sum((1, 2, 3)), rtol=1e-4)


def test_bits_of_uniform_pictures():
  """Uniform over [-1, 1]: 256 levels take 8 bits."""
  log_p = jnp.full(2, 12 * np.log(0.5))
  np.testing.assert_allclose(likelihood.bits_per_dim(log_p, (2, 2, 3)), 8, rtol=1e-6)


@pytest.mark.parametrize('std', [0.1, 0.4])
def test_bits_a_dimension_of_a_known_entropy(std):
  """Independent pixels: the probe leaves no error, and log p is known of each."""
  data, schedule = Gaussian(0.1, std), schedules.flow
  x0 = 0.1 + std * jax.random.normal(jax.random.key(0), (64, 4, 4, 3))
  times = jnp.linspace(1e-3**0.5, 0.999**0.5, 300) ** 2
  got = likelihood.log_likelihood(
      data.denoiser(schedule), schedule, x0, times, jax.random.key(1))
  np.testing.assert_allclose(
      got, data.log_density(x0).sum((1, 2, 3)), atol=0.02 * 48)
  bits = likelihood.bits_per_dim(got, (4, 4, 3))
  entropy = float(data.entropy()) / np.log(2) + 7   # 128 levels a unit
  assert abs(bits.mean() - entropy) < 4 * bits.std() / 8 + 0.03
  np.testing.assert_allclose(
      data.entropy(), stats.norm(0.1, std).entropy(), rtol=1e-6)
