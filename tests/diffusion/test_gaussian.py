"""The oracle itself: by Bayes' rule on a grid, and by laws."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion import schedules
from diffusion.gaussian import Gaussian, Mixture

SCHEDULES = {name: row() for name, row in schedules.SCHEDULES.items()}
DATA = Gaussian(0.3, 0.5)
MODES = Mixture(jnp.array([-0.5, 0.8]).reshape(2, 1, 1, 1), 0.2, jnp.array([0.3, 0.7]))
X = jnp.linspace(-1.5, 1.5, 7).reshape(7, 1, 1, 1)


@pytest.mark.parametrize('t', [0.05, 0.4])
@pytest.mark.parametrize('name', list(SCHEDULES))
def test_denoisers_are_means_of_the_posterior(name, t):
  """E[x0 | x_t] = int x0 p(x0) p(x_t | x0) over the same without x0."""
  schedule = SCHEDULES[name]
  alpha, sigma = (float(v) for v in schedule(jnp.float32(t)))
  x0 = np.linspace(-4, 4, 20_001)
  normal = lambda mean, std: stats.norm(mean, std).pdf(x0)
  for data, density in (
      (DATA, normal(0.3, 0.5)),
      (MODES, 0.3 * normal(-0.5, 0.2) + 0.7 * normal(0.8, 0.2))):
    got = data.denoiser(schedule)(X, jnp.float32(t)).ravel()
    log_p = stats.norm.logpdf(np.asarray(X).reshape(-1, 1), alpha * x0, sigma)
    p = density * np.exp(log_p - log_p.max(1, keepdims=True))
    np.testing.assert_allclose(got, (p * x0).sum(1) / p.sum(1), atol=1e-4)


def test_a_mixture_of_one_is_a_gaussian_at_times_of_each_picture_alone():
  one = Mixture(jnp.full((1, 1, 1, 1), 0.3), 0.5, jnp.ones(1))
  t = jnp.linspace(0.1, 0.9, 7)
  np.testing.assert_allclose(one.denoiser(schedules.cosine)(X, t),
                             DATA.denoiser(schedules.cosine)(X, t), atol=1e-6)


@pytest.mark.parametrize('name', list(SCHEDULES))
def test_the_flow_keeps_the_marginals_and_goes_where_the_ode_does(name):
  schedule, t, s = SCHEDULES[name], jnp.float32(0.5), jnp.float32(0.5 - 1e-3)
  x = DATA.flow(schedule, X, 0.0, t)
  mean, std = DATA.marginal(schedule, t, x)
  np.testing.assert_allclose((x - mean) / std, (X - 0.3) / 0.5, atol=1e-5)
  (alpha, sigma), slopes = jax.jvp(schedule, (t,), (jnp.ones_like(t),))
  x0 = DATA.denoiser(schedule)(x, t)
  velocity = slopes[0] * x0 + slopes[1] * (x - alpha * x0) / sigma
  moved = DATA.flow(schedule, x, t, s) - x
  np.testing.assert_allclose(moved / (s - t), velocity, rtol=0.02, atol=0.02)
