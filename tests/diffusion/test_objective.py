"""The loss: its scale, its weights, and that a perfect network has none."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import bound as bounds, objective, process, schedule

X0 = jax.random.uniform(jax.random.key(0), (8, 4, 4, 3), minval=-1)
EPS = jax.random.normal(jax.random.key(1), X0.shape)
T = jnp.linspace(0.1, 0.9, 8)
LOG_SNR = jnp.linspace(-20, 20, 41)
SNR = np.exp(np.float64(LOG_SNR))
WEIGHTS = {  # each with its closed form in terms of SNR
    'min_snr': (objective.min_snr(3.0), np.minimum(SNR, 3)),
    'soft_min_snr': (objective.soft_min_snr(3.0), 3 * SNR / (SNR + 3)),
    'p2': (objective.p2(0.5, 2.0), SNR / (2 + SNR) ** 0.5),
    'sigmoid': (objective.sigmoid(1.5), SNR / (1 + SNR * np.exp(-1.5))),
    'x0': (objective.of_target(process.ROWS['x0']), np.ones(41)),
    'eps': (objective.of_target(process.ROWS['eps']), SNR),
    'v': (objective.of_target(process.ROWS['v']), SNR + 1),
    'flow': (objective.of_target(process.ROWS['flow']), (1 + SNR**0.5) ** 2),
    'edm': (objective.of_target(process.ROWS['edm']), SNR + 4),
}


def loss(kind, weight, error, noise=schedule.cosine):
  """Of a network whose x0 is wrong by `error` everywhere."""
  row = process.ROWS[kind]
  def predict(x_t, t):
    return process.convert(process.ROWS['x0'], row, X0 + error, x_t, *noise(t))
  return objective.loss(predict, noise, row, weight, X0, T, EPS)


@pytest.mark.parametrize('kind', list(process.ROWS))
def test_a_perfect_network_has_no_loss(kind):
  weight = objective.of_target(process.ROWS[kind])
  np.testing.assert_allclose(loss(kind, weight, 0.0), 0, atol=1e-9)


@pytest.mark.parametrize('noise', ['cosine', 'flow', 'edm'])
@pytest.mark.parametrize('kind', list(process.ROWS))
def test_the_same_error_costs_the_same_in_any_target(kind, noise):
  noise = schedule.SCHEDULES[noise]
  for weight, _ in WEIGHTS.values():
    expected = 0.04 * weight(schedule.log_snr(noise, T))
    np.testing.assert_allclose(loss(kind, weight, 0.2, noise), expected, rtol=3e-3)


@pytest.mark.parametrize('kind', list(process.ROWS))
def test_the_weight_of_a_target_is_its_mean_square(kind):
  row, noise = process.ROWS[kind], schedule.flow
  predict = lambda x_t, t: jnp.zeros_like(x_t)
  got = objective.loss(predict, noise, row, objective.of_target(row), X0, T, EPS)
  plain = jnp.square(process.target(row, X0, EPS, *noise(T))).mean((1, 2, 3))
  np.testing.assert_allclose(got, plain, rtol=1e-5)


def test_a_bound_trains_the_variance_alone():
  """What is predicted of the picture has the slope that it has without."""
  row, noise, n = process.ROWS['eps'], schedule.make('linear', steps=50), 50
  weight, t = objective.of_target(row), jnp.arange(5, 45, 5) / n
  def mean(pred, bound=None):
    return objective.loss(
        lambda x_t, t: pred, noise, row, weight, X0, t, EPS, bound).mean()
  pred = jnp.concatenate([0.5 * EPS, jnp.zeros_like(EPS)], -1)
  of_step = functools.partial(bounds.of_step, noise, n)
  plain, both = (process.parts(jax.grad(mean)(pred, bound), X0)
                 for bound in (None, lambda *given: 0.1 * of_step(*given)))
  np.testing.assert_allclose(both[0], plain[0], rtol=1e-6)
  assert not np.any(plain[1]) and np.all(both[1])
  guess = process.to_x0(row, 0.5 * EPS, process.add_noise(X0, EPS, *noise(t)),
                        *noise(t))
  added = 0.1 * of_step(t, X0, guess, jnp.full_like(X0, 0.5)).mean()
  np.testing.assert_allclose(
      mean(pred, lambda *given: 0.1 * of_step(*given)) - mean(pred), added, rtol=1e-4)


@pytest.mark.parametrize('name', list(WEIGHTS))
def test_weights_are_their_closed_forms_over_the_whole_range(name):
  weight, expected = WEIGHTS[name]
  np.testing.assert_allclose(weight(LOG_SNR), expected, rtol=3e-5)


def test_every_weight_is_tested():
  assert set(WEIGHTS) == set(objective.WEIGHTS) | set(process.ROWS)
