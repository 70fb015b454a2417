"""Schedules: norm, ends, direction, and the tables that networks were trained with."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import process, schedules

T = jnp.linspace(0, 1, 101)
MADE = {  # row and options
    **{name: dict(name=name) for name in schedules.SCHEDULES},
    'SD, 1000 steps': dict(name='scaled_linear', steps=1000),
    'SD, zero SNR': dict(name='scaled_linear', steps=1000, zero_snr=True),
    'linear, zero SNR': dict(name='linear', zero_snr=True),
    'cosine, zero SNR': dict(name='cosine', steps=50, zero_snr=True),
    'cosine, shifted': dict(name='cosine', shift=3.0),
    'SD, all': dict(name='scaled_linear', shift=2.0, steps=1000, zero_snr=True),
}
BETAS = {'linear': schedules.betas(0.1, 20.0, 1), 'cosine': schedules.cosine_betas,
         'scaled_linear': schedules.betas(0.85, 12.0, 2)}


def made_of(name, **options):
  return schedules.SCHEDULES[name](**options)


@pytest.mark.parametrize('case', list(MADE))
def test_from_data_to_noise_with_the_norm_of_the_family(case):
  made = made_of(**MADE[case])
  alpha, sigma = made(T)
  name = MADE[case]['name']
  norm = {'flow': alpha + sigma, 'edm': alpha}.get(name, alpha**2 + sigma**2)
  np.testing.assert_allclose(norm, 1, atol=1e-6)
  np.testing.assert_allclose([alpha[0], sigma[0]], [1, 0], atol=1e-6)
  assert (jnp.diff(schedules.log_snr(made, T)) < 0).all()
  assert (alpha >= 0).all() and (sigma >= 0).all()
  if name != 'edm':
    assert alpha[-1] < 0.07 and sigma[-1] > 0.99


@pytest.mark.parametrize('case', list(MADE))
def test_slopes_are_finite_inside(case):
  slopes = jax.vmap(jax.jacfwd(made_of(**MADE[case])))(T[1:-1])
  assert all(jnp.isfinite(s).all() for s in slopes)


@pytest.mark.parametrize('name, low, high, power', [
    ('linear', 0.1, 20.0, 1), ('scaled_linear', 0.85, 12.0, 2)])
def test_continuous_time_is_the_limit_of_many_small_steps(name, low, high, power):
  n = 100_000
  beta = np.linspace(low**(1 / power), high**(1 / power), n)**power / n
  product = np.sqrt(np.cumprod(1 - beta))
  for t in (0.1, 0.5, 1.0):
    alpha, _ = schedules.SCHEDULES[name]()(jnp.float32(t))
    np.testing.assert_allclose(alpha, product[round(t * n) - 1], rtol=2e-3)


@pytest.mark.parametrize('name', ['linear', 'scaled_linear', 'cosine'])
def test_a_discrete_schedule_is_the_product_of_its_steps(name):
  beta = BETAS[name](1000)
  assert len(beta) == 1000 and (beta > 0).all() and (beta <= 0.999).all()
  alpha, sigma = schedules.discrete(beta)(jnp.arange(1, 1001) / 1000)
  product = np.cumprod(1 - beta)
  np.testing.assert_allclose(alpha, np.sqrt(product), rtol=2e-6, atol=5e-7)
  np.testing.assert_allclose(sigma, np.sqrt(1 - product), rtol=2e-6)


@pytest.mark.parametrize('name', ['linear', 'scaled_linear', 'cosine'])
def test_zero_terminal_is_alg_1_of_its_paper(name):
  """arXiv:2305.08891 alg. 1, on the table: shift by the last, scale to the first."""
  root = np.sqrt(np.cumprod(1 - BETAS[name](1000)))
  expected = (root - root[-1]) * root[0] / (root[0] - root[-1])
  alpha, sigma = made_of(name, steps=1000, zero_snr=True)(
      jnp.arange(1, 1001) / 1000)
  assert alpha[-1] == 0 and sigma[-1] == 1
  np.testing.assert_allclose(alpha, expected, atol=5e-7)
  np.testing.assert_allclose(sigma, np.sqrt(1 - expected**2), rtol=3e-6)


@pytest.mark.parametrize('case', ['linear, zero SNR', 'SD, all', 'SD, zero SNR'])
def test_zero_terminal_is_zero_compiled_too_and_has_a_slope_there(case):
  made = made_of(**MADE[case])
  (alpha, sigma), (d_alpha, _) = jax.jit(
      lambda t: jax.jvp(made, (t,), (jnp.ones_like(t),)))(jnp.ones(7))
  assert (alpha == 0).all() and (sigma == 1).all() and (d_alpha < -0.01).all()


def test_zero_terminal_is_zero_where_two_programs_round_differently():
  calls = []
  def rounded(t):
    calls.append(t)
    alpha, sigma = schedules.linear(t)
    return alpha * (1 + 1e-6 * len(calls)), sigma
  alpha, _ = schedules.zero_terminal(rounded)(jnp.array([0.999, 1.0]))
  assert alpha[1] == 0 and alpha[0] > 0


@pytest.mark.parametrize('case', list(MADE))
def test_a_shift_moves_log_snr(case):
  options = MADE[case] | {'shift': 1.0}
  plain, moved = made_of(**options), made_of(**options | {'shift': 4.0})
  before, after = (schedules.log_snr(made, T[1:-1]) for made in (plain, moved))
  np.testing.assert_allclose(after, before - 2 * np.log(4), atol=1e-4)


def test_a_shifted_flow_is_stable_diffusion_3s():
  """arXiv:2403.03206 eq. 23."""
  for got, expected in zip(made_of('flow', shift=3.0)(T),
                           schedules.flow(3 * T / (1 + 2 * T))):
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize('case', list(MADE))
def test_time_from_log_snr_inverts_log_snr(case):
  made = made_of(**MADE[case])
  t = jnp.concatenate([jnp.logspace(-7, -1, 13), jnp.linspace(0.1, 0.999, 50)])
  time_from = jax.jit(lambda value: schedules.time_from_log_snr(made, value))
  got = time_from(schedules.log_snr(made, t))
  np.testing.assert_allclose(got, t, rtol=1e-5)
  ends = schedules.time_from_log_snr(made, jnp.array([jnp.inf, -jnp.inf]))
  np.testing.assert_allclose(ends, [0, 1], atol=1e-30)


def test_time_from_log_snr_is_as_fine_as_the_floats_are():
  with jax.enable_x64():
    t = jnp.array([1e-12, 1e-5, 0.3, 0.9])
    value = schedules.log_snr(schedules.linear, t)
    got = schedules.time_from_log_snr(schedules.linear, value)
  np.testing.assert_allclose(got, t, rtol=1e-13)


@pytest.mark.parametrize('options, said', [
    (dict(name='flow', zero_snr=True), 'zero_snr'),
    (dict(name='edm', zero_snr=True), 'zero_snr'),
    (dict(name='cosine', zero_snr=True), 'zero_snr'),
    (dict(name='flow', steps=1000), 'steps'),
    (dict(name='linear', steps=-1), 'steps'),
    (dict(name='linear', shift=0.0), 'shift')])
def test_what_makes_no_sense_is_refused_by_name(options, said):
  with pytest.raises(ValueError, match=said):
    made_of(**options)


def test_the_noise_says_nothing_of_x0_only_where_alpha_is_zero():
  assert process.t_max(schedules.linear, process.eps) == 1
  for target in (process.x0, process.v, process.flow, process.edm()):
    assert process.t_max(schedules.cosine, target) == 1
  for name in ('cosine', 'flow'):
    made = schedules.SCHEDULES[name]()
    last = process.t_max(made, process.eps)
    assert last < 1 and made(last)[0] > 1e-3
