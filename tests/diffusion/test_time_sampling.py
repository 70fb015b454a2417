"""Densities of time, by the Kolmogorov-Smirnov statistic."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from diffusion import schedules, time_sampling


def mode_cdf(t, scale=1.0):
  """arXiv:2403.03206 eq. 20, inverted by a root finder: 1 - u maps to its f(u)."""
  f = lambda u, t: 1 - u - scale * (np.cos(np.pi / 2 * u) ** 2 - 1 + u) - t
  return np.array([1 - optimize.brentq(f, 0, 1, args=(x,)) for x in np.atleast_1d(t)])


MASS = np.r_[np.full(32, 4.0), np.full(32, 1.0)]
CASES = {
    'uniform': (time_sampling.uniform(), stats.uniform.cdf),
    'logit_normal': (time_sampling.logit_normal(0.4, 1.3),
                     lambda t: stats.norm.cdf(np.log(t / (1 - t)), 0.4, 1.3)),
    'mode': (time_sampling.mode(1.0), mode_cdf),
    # t = 1 - 1 / (tan(pi u / 2) + 1), solved for u.
    'cosmap': (time_sampling.cosmap(), lambda t: 2 / np.pi * np.arctan(t / (1 - t))),
    'log_normal': (time_sampling.log_normal(schedules.edm, -1.2, 1.2),
                   lambda t: stats.norm.cdf(np.log(80 * t), -1.2, 1.2)),
    'log_normal of flow': (time_sampling.log_normal(schedules.flow, 0.3, 0.8),
                           lambda t: stats.norm.cdf(np.log(t / (1 - t)), 0.3, 0.8)),
    # A half with root mean square loss 2 gets twice the draws of one with 1.
    'adaptive': (time_sampling.adaptive(jnp.asarray(MASS), floor=0.0),
                 lambda t: np.interp(t, [0, 0.5, 1], [0, 2 / 3, 1])),
}


@pytest.mark.parametrize('stratified', [False, True])
@pytest.mark.parametrize('name', list(CASES))
def test_draws_follow_the_density(name, stratified):
  quantile, cdf = CASES[name]
  t, importance = time_sampling.draw(
      quantile, jax.random.key(0), 4_000, stratified=stratified)
  t = np.asarray(t)
  assert 0 < t.min() and t.max() < 1 and (importance == 1).all()
  assert stats.kstest(t, cdf).statistic < (1e-3 if stratified else 0.03)


def test_every_density_is_tested():
  assert {name.split()[0] for name in CASES} == set(time_sampling.DENSITIES)


def test_a_stratified_batch_has_one_draw_in_each_slice():
  t, _ = time_sampling.draw(time_sampling.uniform(), jax.random.key(1), 64)
  assert (jnp.floor(t * 64) == jnp.arange(64)).all()


def test_discrete_times_are_the_steps_each_alike():
  t, _ = time_sampling.draw(
      time_sampling.uniform(), jax.random.key(0), 5_000, num_steps=50)
  steps, counts = np.unique(np.round(np.asarray(t) * 50, 3), return_counts=True)
  np.testing.assert_array_equal(steps, np.arange(1, 51))
  assert abs(counts - 100).max() <= 1


@pytest.mark.parametrize('name', ['uniform', 'logit_normal', 'cosmap', 'adaptive'])
def test_importance_makes_the_mean_over_times_that_of_uniform_ones(name):
  """E[t^2] = 1/3 whatever the density."""
  t, importance = time_sampling.draw(CASES[name][0], jax.random.key(0), 20_000,
                             measure=lambda t: t)
  np.testing.assert_allclose((importance * t**2).mean(), 1 / 3, rtol=5e-3)


@pytest.mark.parametrize('name', ['uniform', 'logit_normal', 'mode'])
def test_importance_integrates_over_log_snr_whatever_the_density(name):
  """arXiv:2303.00848: of a bell around 1, whose integral is known."""
  log_snr = functools.partial(schedules.log_snr, schedules.cosine)
  t, importance = time_sampling.draw(
      CASES[name][0], jax.random.key(0), 20_000, measure=log_snr)
  bell = jnp.exp(-jnp.square(log_snr(t) - 1) / 2)
  np.testing.assert_allclose((importance * bell).mean(), np.sqrt(2 * np.pi), rtol=5e-3)


def test_importance_of_log_normal_is_its_own_slope():
  """d log_snr / du = -2 std / density of the normal, through time_from_log_snr."""
  u = jnp.array([0.2, 0.5, 0.9])
  log_snr = functools.partial(schedules.log_snr, schedules.edm)
  quantile = time_sampling.log_normal(schedules.edm, -1.2, 1.2)
  slope = jax.jvp(lambda u: log_snr(quantile(u)), (u,), (jnp.ones(3),))[1]
  np.testing.assert_allclose(
      slope, -2 * 1.2 / stats.norm.pdf(stats.norm.ppf(u)), rtol=1e-4)


def test_running_losses_follow_those_observed():
  loss_ema = jnp.ones(time_sampling.BINS)
  for _ in range(300):
    loss_ema = time_sampling.observe(
        loss_ema, jnp.array([0.1, 0.9, 1.0]), jnp.array([2.0, 3.0, 1.0]))
  part = int(0.1 * time_sampling.BINS)
  np.testing.assert_allclose(loss_ema[part], 4, rtol=0.1)
  np.testing.assert_allclose(loss_ema[int(0.9 * time_sampling.BINS)], 9, rtol=0.1)
  np.testing.assert_allclose(loss_ema[0], 1)


@pytest.mark.parametrize('row, options, said', [
    ('logit_normal', {'std': 0.0}, 'std is 0.0'), ('mode', {'scale': 3.0}, '1.75'),
    ('log_normal', {'schedule': schedules.edm, 'std': -1.0}, 'std is -1.0'),
    ('adaptive', {'loss_ema': jnp.asarray(MASS), 'floor': 2.0}, 'floor is 2.0')])
def test_what_is_no_density_is_refused(row, options, said):
  with pytest.raises(ValueError, match=said):
    time_sampling.DENSITIES[row](**options)
