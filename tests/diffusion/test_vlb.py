"""The variational bound, of Gaussian data for which all of it is known."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion import posterior, schedules, vlb
from diffusion.gaussian import Gaussian

N, MEAN, STD = 50, 0.2, 0.25
DATA = Gaussian(MEAN, STD)
SCHEDULE = schedules.SCHEDULES['linear'](steps=N)
VALUES = jnp.arange(256) / 127.5 - 1


def denoiser(frac=None):
  """The best one, with the best variance or a fixed frac."""
  def denoise(x, t):
    now, then = SCHEDULE(t), SCHEDULE(t - 1 / N)
    alpha, sigma = now
    spread = alpha**2 * STD**2 + sigma**2
    x0 = DATA.denoiser(SCHEDULE)(x, t)
    if frac is not None:
      return x0, frac
    # x_s is the posterior's mean, as unsure as x0 is, and the posterior's own noise.
    slope = then[0] * (1 - posterior.sigma_ratio(now, then) ** 2)
    variance = (slope**2 * STD**2 * sigma**2 / spread
                + posterior.posterior_std(now, then, 1.0) ** 2)
    second = posterior.posterior_std(SCHEDULE(2 / N), SCHEDULE(1 / N), 1.0)
    std = posterior.posterior_std(now, then, 1.0)
    least = 2 * jnp.log(jnp.where(t > 1.5 / N, std, second))
    most = 2 * jnp.log(posterior.beta_std(now, then))
    return x0, (jnp.log(variance) - least) / (most - least)
  return denoise


@functools.cache
def pictures():
  rng = np.random.default_rng(0)
  x0 = stats.norm(MEAN, STD).rvs((512, 8, 8, 3), random_state=rng)
  return jnp.float32(np.round(np.clip((x0 + 1) * 127.5, 0, 255)) / 127.5 - 1)


def bits(denoise):
  draw = jax.jit(functools.partial(vlb.total, denoise, SCHEDULE, N))
  return np.asarray(draw(pictures(), jax.random.key(0)))


def exact():
  """Bits a dimension of each picture under the density that it was drawn from."""
  edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 127.5 - 1, [np.inf]])
  chances = np.diff(stats.norm(MEAN, STD).cdf(edges))
  at = np.round((np.asarray(pictures()) + 1) * 127.5).astype(int)
  return -np.log2(chances[at]).mean((1, 2, 3))


def test_of_a_perfect_network_it_is_what_the_pictures_tell():
  """Steps of Gaussian data are Gaussian: nothing is lost at any number of them."""
  got, expected = bits(denoiser()), exact()
  alpha, sigma = (float(v) for v in SCHEDULE(jnp.float32(1)))
  last = stats.norm(alpha * MEAN, np.hypot(alpha * STD, sigma))
  lost = (-last.entropy() - last.expect(stats.norm.logpdf)) / np.log(2)  # by the prior
  error = np.std(got - expected) / np.sqrt(len(got))
  assert abs(np.mean(got - expected) - lost) < 4 * error + 1e-3
  assert error < 0.006


@pytest.mark.parametrize('frac', [0.0, 1.0])
def test_a_fixed_variance_tells_more(frac):
  assert bits(denoiser(frac)).mean() > bits(denoiser()).mean() + 0.005


@pytest.mark.parametrize('mean, std', [(0.0, 1e-3), (0.3, 0.1), (-2.0, 1.0)])
def test_the_chances_of_all_values_are_one(mean, std):
  chances = jnp.exp(vlb.discretized_log_likelihood(
      VALUES, jnp.float32(mean), 2 * jnp.log(std)))
  np.testing.assert_allclose(chances.sum(), 1, rtol=1e-5)


def test_chances_are_those_of_a_normal():
  mean, std = 0.1, 0.2
  got = vlb.discretized_log_likelihood(
      VALUES, jnp.float32(mean), 2 * jnp.log(jnp.float32(std)))
  edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 127.5 - 1, [np.inf]])
  expected = np.log(np.diff(stats.norm(mean, std).cdf(edges)))
  np.testing.assert_allclose(got, expected, rtol=1e-3)


def test_its_slope_is_finite_everywhere():
  """Also where a picture is white, or far from what was expected."""
  def loss(x0_pred, frac):
    t = jnp.arange(1, N + 1) / N
    x0 = jnp.ones((N, 2, 2, 3))
    return vlb.step_kl(SCHEDULE, N, t, x0, x0_pred, frac).sum()
  for x0_pred in (1.0, -1.0, 30.0):
    full = jnp.full((N, 2, 2, 3), x0_pred)
    grads = jax.grad(loss, (0, 1))(full, jnp.full_like(full, 0.5))
    assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize('frac', [0.0, 1.0])
def test_the_fixed_variances_are_best_where_they_are_known_to_be(frac):
  """The posterior's, if all pictures are one; the largest, if they are normal."""
  t = jnp.array([0.3])
  error = frac * SCHEDULE(t)[1] * jax.random.normal(jax.random.key(1), (1, 64, 64, 3))
  def loss(frac):  # normal pictures: x0 given x_t is alpha x_t, with spread sigma
    x0 = jnp.zeros_like(error)
    return vlb.step_kl(SCHEDULE, N, t, x0, error, jnp.full_like(x0, frac))[0]
  slope = jax.grad(loss)(frac)
  assert abs(slope) < 0.02 * abs(jax.grad(loss)(1 - frac))
