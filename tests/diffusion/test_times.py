"""Densities of time, by the Kolmogorov-Smirnov statistic."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from diffusion import times

CASES = {
    'uniform': (times.uniform, stats.uniform.cdf),
    'logit_normal': (functools.partial(times.logit_normal, mean=0.4, std=1.3),
                     lambda t: stats.norm.cdf(np.log(t / (1 - t)), 0.4, 1.3)),
}


@pytest.mark.parametrize('stratified', [False, True])
@pytest.mark.parametrize('name', list(CASES))
def test_draws_follow_the_density(name, stratified):
  quantile, cdf = CASES[name]
  t = np.asarray(times.draw(quantile, jax.random.key(0), 20_000, stratified))
  assert 0 < t.min() and t.max() < 1
  assert stats.kstest(t, cdf).statistic < (1e-3 if stratified else 0.015)


def test_a_stratified_batch_has_one_draw_in_each_slice():
  t = times.draw(times.uniform, jax.random.key(1), 64)
  assert (jnp.floor(t * 64) == jnp.arange(64)).all()
