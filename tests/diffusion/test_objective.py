"""The loss: its scale, its weights, and that a perfect network has none."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import objective, process, schedule

X0 = jax.random.uniform(jax.random.key(0), (8, 4, 4, 3), minval=-1)
EPS = jax.random.normal(jax.random.key(1), X0.shape)
T = jnp.linspace(0.1, 0.9, 8)
ALPHA, SIGMA = schedule.cosine(T)


def loss(kind, weight, error):
  """Of a network whose x0 is wrong by `error` everywhere."""
  def predict(x_t, t):
    del t
    x0 = X0 + error
    return process.target(kind, x0, process.to_eps(x0, x_t, ALPHA, SIGMA), ALPHA, SIGMA)
  return objective.loss(
      predict, schedule.cosine, kind, objective.WEIGHTS[weight], X0, T, EPS)


@pytest.mark.parametrize('kind', list(process.ROWS))
def test_a_perfect_network_has_no_loss(kind):
  np.testing.assert_allclose(loss(kind, kind, 0.0), 0, atol=1e-9)


@pytest.mark.parametrize('weight', list(objective.WEIGHTS))
@pytest.mark.parametrize('kind', list(process.ROWS))
def test_the_same_error_costs_the_same_in_any_target(kind, weight):
  expected = 0.04 * objective.WEIGHTS[weight](ALPHA, SIGMA)
  np.testing.assert_allclose(loss(kind, weight, 0.2), expected, rtol=2e-3)


def test_min_snr_is_capped():
  """arXiv:2303.09556: for noise prediction the weight is min(SNR, 5) / SNR."""
  snr = np.square(ALPHA / SIGMA)
  noise_space = (objective.WEIGHTS['min_snr'](ALPHA, SIGMA)
                 / process.x0_weight('eps', ALPHA, SIGMA))
  np.testing.assert_allclose(noise_space, np.minimum(snr, 5) / snr, rtol=1e-5)
