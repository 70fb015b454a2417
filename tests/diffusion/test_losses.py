"""The loss: its scale, its weights, and that a perfect network has none."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import losses, process, schedules, vlb
from diffusion.process import Process

X0 = jax.random.uniform(jax.random.key(0), (8, 4, 4, 3), minval=-1)
EPS = jax.random.normal(jax.random.key(1), X0.shape)
T = jnp.linspace(0.1, 0.9, 8)
TARGETS = {name: row() for name, row in process.TARGETS.items()}
LOG_SNR = jnp.linspace(-20, 20, 41)
SNR = np.exp(np.float64(LOG_SNR))
WEIGHTS = {  # each with its closed form in terms of SNR
    'min_snr': (losses.min_snr(3.0), np.minimum(SNR, 3)),
    'soft_min_snr': (losses.soft_min_snr(3.0), 3 * SNR / (SNR + 3)),
    'p2': (losses.p2(0.5, 2.0), SNR / (2 + SNR) ** 0.5),
    'sigmoid': (losses.sigmoid(1.5), SNR / (1 + SNR * np.exp(-1.5))),
    'x0': (losses.target_weight(TARGETS['x0']), np.ones(41)),
    'eps': (losses.target_weight(TARGETS['eps']), SNR),
    'v': (losses.target_weight(TARGETS['v']), SNR + 1),
    'flow': (losses.target_weight(TARGETS['flow']), (1 + SNR**0.5) ** 2),
    'edm': (losses.target_weight(TARGETS['edm']), SNR + 4),
}


def loss(kind, weight, error, schedule=schedules.cosine):
  """Of a network whose x0 is wrong by `error` everywhere."""
  target = TARGETS[kind]
  def predict(x_t, t):
    return process.convert(process.x0, target, X0 + error, x_t, *schedule(t))
  terms = losses.denoising_terms(
      predict, Process(schedule, target), weight, X0, T, EPS)
  assert set(terms) == {'mse'}
  return terms['mse']


@pytest.mark.parametrize('kind', list(TARGETS))
def test_a_perfect_network_has_no_loss(kind):
  weight = losses.target_weight(TARGETS[kind])
  np.testing.assert_allclose(loss(kind, weight, 0.0), 0, atol=1e-9)


@pytest.mark.parametrize('name', ['cosine', 'flow', 'edm'])
@pytest.mark.parametrize('kind', list(TARGETS))
def test_the_same_error_costs_the_same_in_any_target(kind, name):
  made = schedules.SCHEDULES[name]()
  for weight, _ in WEIGHTS.values():
    expected = 0.04 * weight(schedules.log_snr(made, T))
    np.testing.assert_allclose(loss(kind, weight, 0.2, made), expected, rtol=3e-3)


@pytest.mark.parametrize('kind', list(TARGETS))
def test_the_weight_of_a_target_is_its_mean_square(kind):
  target, schedule = TARGETS[kind], schedules.flow
  predict = lambda x_t, t: jnp.zeros_like(x_t)
  got = losses.denoising_terms(predict, Process(schedule, target),
                               losses.target_weight(target), X0, T, EPS)['mse']
  plain = jnp.square(process.target_value(target, X0, EPS, *schedule(T)))
  np.testing.assert_allclose(got, plain.mean((1, 2, 3)), rtol=1e-5)


def test_a_bound_trains_the_variance_alone():
  """What is predicted of the picture has the slope that it has without."""
  target, schedule, n = process.eps, schedules.SCHEDULES['linear'](steps=50), 50
  weight, t = losses.target_weight(target), jnp.arange(5, 45, 5) / n
  def mean(pred, bound=None):
    return sum(losses.denoising_terms(
        lambda x_t, t: pred, Process(schedule, target, n), weight, X0, t, EPS, bound
    ).values()).mean()
  pred = jnp.concatenate([0.5 * EPS, jnp.zeros_like(EPS)], -1)
  of_step = functools.partial(vlb.step_kl, schedule, n)
  plain, both = (process.split_variance(jax.grad(mean)(pred, bound), X0)
                 for bound in (None, lambda *given: 0.1 * of_step(*given)))
  np.testing.assert_allclose(both[0], plain[0], rtol=1e-6)
  assert not np.any(plain[1]) and np.all(both[1])
  x_t = process.add_noise(X0, EPS, *schedule(t))
  x0_pred = process.to_x0(target, 0.5 * EPS, x_t, *schedule(t))
  added = 0.1 * of_step(t, X0, x0_pred, jnp.full_like(X0, 0.5)).mean()
  np.testing.assert_allclose(
      mean(pred, lambda *given: 0.1 * of_step(*given)) - mean(pred), added, rtol=1e-4)


@pytest.mark.parametrize('name', list(WEIGHTS))
def test_weights_are_their_closed_forms_over_the_whole_range(name):
  weight, expected = WEIGHTS[name]
  np.testing.assert_allclose(weight(LOG_SNR), expected, rtol=3e-5)


def test_every_weight_is_tested():
  assert set(WEIGHTS) == set(losses.weights())


def test_the_weight_of_a_target_has_its_options():
  weight = losses.weights()['edm'](data_std=1.0)  # v with its sign turned
  np.testing.assert_allclose(weight(LOG_SNR), SNR + 1, rtol=3e-5)


@pytest.mark.parametrize('name, options', [
    ('min_snr', {'gamma': 0.0}), ('soft_min_snr', {'gamma': -1.0}), ('p2', {'k': 0.0}),
    ('edm', {'data_std': 0.0})])
def test_a_weight_that_makes_no_sense_is_refused(name, options):
  with pytest.raises(ValueError, match=f'{list(options)[0]} is .*above 0'):
    losses.weights()[name](**options)
