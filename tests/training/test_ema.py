"""Averages made afterwards are those that would have been kept."""
import numpy as np
import pytest

from training import ema

STEPS = 400


def kept(values, profile):
  """The average after each step, by the rule of the training step."""
  out, average = [], values[0]
  for step, value in enumerate(values):
    decay = float(profile(step))
    average = decay * average + (1 - decay) * value
    out.append(average)
  return np.array(out)


@pytest.mark.parametrize('std', [0.05, 0.1, 0.2])
def test_a_power_profile_has_the_width_that_it_is_named_for(std):
  """Relative standard deviation of t under (gamma + 1) t^gamma on [0, 1]."""
  gamma = ema.std_to_gamma(std)
  mean, square = (gamma + 1) / (gamma + 2), (gamma + 1) / (gamma + 3)
  np.testing.assert_allclose(np.sqrt(square - mean**2), std, rtol=1e-9)
  weights = kept(np.eye(STEPS), ema.power(std))[-1]
  t = (np.arange(STEPS) + 0.5) / STEPS
  np.testing.assert_allclose(weights.sum(), 1, rtol=1e-6)
  at = weights @ t
  np.testing.assert_allclose(np.sqrt(weights @ (t - at) ** 2), std, rtol=0.02)


@pytest.mark.parametrize('std', [0.07, 0.12, 0.15])
def test_an_average_is_made_from_others_that_were_stored(std):
  """arXiv:2312.02696 section 3.2, on a path of weights that wanders."""
  values = np.random.default_rng(0).normal(size=(STEPS, 3)).cumsum(0)
  stored = [(step, width) for step in range(20, STEPS + 1, 20) for width in (0.05, 0.1)]
  averages = {width: kept(values, ema.power(width)) for width in (0.05, 0.1)}
  share = ema.solve_posthoc(stored, STEPS, std)
  made = share @ np.stack([averages[width][step - 1] for step, width in stored])
  expected = kept(values, ema.power(std))[-1]
  spread = np.abs(averages[0.05][-1] - averages[0.1][-1]).max()
  assert np.abs(made - expected).max() < 0.02 * spread
  np.testing.assert_allclose(share.sum(), 1, atol=0.01)


def test_products_are_integrals():
  t = (np.arange(200_000) + 0.5) / 200_000 * 8
  def profile(end, gamma):
    return np.where(t < end, (gamma + 1) * t**gamma / end ** (gamma + 1), 0)
  exact = (profile(5, 3.0) * profile(8, 6.0)).sum() * 8 / 200_000
  np.testing.assert_allclose(ema.inner_products(5, 3.0, 8, 6.0), exact, rtol=1e-4)


@pytest.mark.parametrize('std', [0.0, 0.3])
def test_widths_that_no_profile_has_are_refused(std):
  with pytest.raises(ValueError, match='0.288'):
    ema.std_to_gamma(std)
