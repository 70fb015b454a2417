"""Timesteps: their definitions, and that any of them fits any schedule."""
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import schedules, specs, timesteps

SD = schedules.SCHEDULES['scaled_linear'](steps=1000)


def made(name, schedule, steps, t_max=1.0, **options):
  spec = f'{name}({", ".join(f"{k}={v!r}" for k, v in options.items())})'
  return timesteps.complete(specs.build(
      timesteps.TIMESTEPS, spec, 'x', schedule=schedule, steps=steps, t_max=t_max))


def ratio(schedule, times):
  return np.exp(-0.5 * np.asarray(schedules.log_snr(schedule, times), np.float64))


@pytest.mark.parametrize('schedule', ['cosine', 'edm', 'scaled_linear'])
@pytest.mark.parametrize('name', sorted(timesteps.TIMESTEPS))
def test_any_timesteps_on_any_schedule_go_from_t_max_to_zero(name, schedule):
  options = {'times': (0.9, 0.5, 0.2, 0.05)} if name == 'custom' else {}
  for t_max in (1.0, 0.99):
    times = made(name, schedules.SCHEDULES[schedule](), 10, t_max, **options)
    assert times.shape == (11,) and times.dtype == jnp.float32 and times[-1] == 0
    assert (jnp.diff(times) < 0).all() and 0.85 < times[0] <= t_max


def test_karras_is_edms():
  """arXiv:2206.00364 eq. 5, and the 80 = sigma_max of its table 1."""
  i, n = np.arange(18), 18
  expected = (80**(1 / 7) + i / (n - 1) * (0.002**(1 / 7) - 80**(1 / 7)))**7
  np.testing.assert_allclose(
      80 * made('karras', schedules.edm, 18)[:-1], expected, rtol=2e-6)


@pytest.mark.parametrize('schedule', [schedules.cosine, schedules.flow, SD])
def test_karras_has_the_same_ratios_on_any_schedule(schedule):
  options = dict(sigma_min=0.03, sigma_max=14.0)
  got = made('karras', schedule, 12, **options)
  expected = 80 * made('karras', schedules.edm, 12, **options)
  np.testing.assert_allclose(ratio(schedule, got[:-1]), expected[:-1], rtol=2e-5)


def test_exponential_has_equal_steps_of_log_snr():
  times = made('exponential', schedules.cosine, 9, sigma_min=0.01, sigma_max=10)
  steps = np.diff(schedules.log_snr(schedules.cosine, times[:-1]))
  np.testing.assert_allclose(steps, 2 * np.log(1000) / 8, rtol=1e-5)


def test_steps_of_a_thousand_are_those_of_the_paper():
  """arXiv:2305.08891 table 2, T = 1000 and 10 steps; its numbers count from 1."""
  for name, expected in (('trailing', [1000, 900, 100]), ('leading', [901, 801, 1]),
                         ('linspace', [1000, 889, 1])):
    times = 1000 * np.asarray(made(name, SD, 10))
    np.testing.assert_allclose(times[[0, 1, 9]], expected, rtol=1e-6)


def test_sd3_and_flux_shift_the_ratio_of_a_flow():
  plain = made('linear', schedules.flow, 8)
  for name, m, options in (('shifted', 3.0, dict(shift=3.0)),
                           ('flux', np.exp(1.15), dict(tokens=4096)),
                           ('flux', np.exp(0.5), dict(tokens=256))):
    got = made(name, schedules.flow, 8, **options)
    np.testing.assert_allclose(ratio(schedules.flow, got[1:-1]),
                               m * ratio(schedules.flow, plain[1:-1]), rtol=1e-5)


def test_given_times_stay_and_are_interpolated_in_log_snr():
  given = (0.9, 0.6, 0.3)
  np.testing.assert_allclose(
      made('custom', schedules.cosine, 3, times=given), [*given, 0])
  finer = np.asarray(made('custom', schedules.cosine, 5, times=given))
  np.testing.assert_allclose(finer[[0, 2, 4]], given, rtol=1e-5)
  middle = ratio(schedules.cosine, finer[[1, 3]])
  ends = ratio(schedules.cosine, np.float32(given))
  np.testing.assert_allclose(middle, np.sqrt(ends[:-1] * ends[1:]), rtol=1e-5)


@pytest.mark.parametrize('name, steps, options, said', [
    ('leading', 600, dict(offset=500), 'do not decrease'),
    ('trailing', 2000, {}, 'do not decrease'),
    ('custom', 5, dict(times=(0.5,)), 'times needs two times'),
    ('custom', 2, dict(times=(0.5, 0.6)), 'do not decrease'),
    ('karras', 5, dict(rho=0.0), 'rho is 0.0'),
    ('karras', 5, dict(sigma_min=0.0), 'sigma_min is 0.0'),
    ('shifted', 5, dict(shift=-1.0), 'shift is -1.0'),
    ('trailing', 5, dict(trained=0), 'trained is 0')])
def test_what_makes_no_timesteps_is_refused(name, steps, options, said):
  with pytest.raises(ValueError, match=said):
    made(name, schedules.cosine, steps, **options)
