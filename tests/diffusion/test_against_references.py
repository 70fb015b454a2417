"""Every solver and its timesteps against diffusers and k-diffusion.

tests/fixtures/make_solvers.py made the fixture: the same start, the same exactly known
denoiser, the same noise and timesteps. Where a solver does not depend on the schedule
but for its log-SNR, it runs here on another schedule than the reference did. In
float64, so that what is compared is the formula.
"""
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import guidance, posterior, sampling, schedules, solvers, specs
from diffusion import timesteps
from diffusion.gaussian import Mixture

FOUND = np.load(pathlib.Path(__file__).parent.parent / 'fixtures' / 'solvers.npz')
START, NOISE, MEANS, SHARES = (FOUND[k] for k in ('start', 'noise', 'means', 'shares'))
SD = schedules.SCHEDULES['scaled_linear'](steps=1000)
ZERO_SNR = schedules.SCHEDULES['scaled_linear'](steps=1000, zero_snr=True)
COSINE_STEPS = schedules.SCHEDULES['cosine'](steps=1000)
LINEAR_STEPS = schedules.SCHEDULES['linear'](steps=1000)
EDM, FLOW, COSINE = schedules.edm, schedules.flow, schedules.cosine
DATA = Mixture(MEANS, 0.3, SHARES)

CASES = {  # case -> (schedule, solver, its options)
    'ddpm': (SD, 'ddpm', {}),
    'ddpm_large': (SD, 'ddpm', {'variance': 'large'}),
    'ddpm_learned': (SD, 'ddpm', {'variance': 'learned'}),
    'ddim_leading': (SD, 'ddim', {}),
    'ddim_trailing': (SD, 'ddim', {}),
    'ddim_eta': (SD, 'ddim', {'eta': 0.7}),
    'ddim_zero_snr': (ZERO_SNR, 'ddim', {}),
    'ddim_cosine': (COSINE_STEPS, 'ddim', {}),
    'ddim_linear': (LINEAR_STEPS, 'ddim', {}),
    'linspace': (SD, 'ddpm', {}),
    'euler_discrete': (EDM, 'euler', {}),
    'euler_ancestral_discrete': (SD, 'euler_ancestral', {}),
    'heun_discrete': (EDM, 'heun', {}),
    'lms_discrete': (SD, 'lms', {}),
    'edm_euler': (EDM, 'euler', {}),
    'edm_dpm': (EDM, 'dpmpp_2m', {}),
    'dpm_2m': (SD, 'dpmpp_2m', {}),
    'dpm_2m_leading': (SD, 'dpmpp_2m', {}),
    'dpm_2m_karras': (SD, 'dpmpp_2m', {}),
    'dpm_2m_exact': (SD, 'dpmpp_2m', {'middle': False}),
    'dpm_2m_sde': (SD, 'dpmpp_2m_sde', {}),
    'dpm_2m_flow': (FLOW, 'dpmpp_2m', {}),
    'dpm_3m': (SD, 'dpmpp_3m', {'halved': True}),
    'dpm_singlestep': (SD, 'dpmpp_2s', {}),
    'unipc_2': (SD, 'unipc', {}),
    'unipc_2_karras': (SD, 'unipc', {}),
    'unipc_3': (SD, 'unipc', {'order': 3}),
    'deis_2': (SD, 'deis', {'order': 2}),
    'deis_3': (SD, 'deis', {}),
    'lcm': (SD, 'lcm', {}),
    'flow_match_sd3': (FLOW, 'euler', {}),
    'flow_match_flux': (FLOW, 'euler', {}),
    'k_euler': (EDM, 'euler', {}),
    'k_euler_ancestral': (FLOW, 'euler_ancestral', {}),
    'k_euler_ancestral_half': (COSINE, 'euler_ancestral', {'eta': 0.5}),
    'k_heun': (EDM, 'heun', {}),
    'k_heun_churn': (EDM, 'edm', dict(churn=0.2, low=0.05, high=10.0, noise=1.003)),
    'k_lms': (FLOW, 'lms', {}),
    'k_dpmpp_2s': (COSINE, 'dpmpp_2s', {}),
    'k_dpmpp_2s_ancestral': (FLOW, 'dpmpp_2s', {'eta': 1.0}),
    'k_dpmpp_2m': (FLOW, 'dpmpp_2m', {}),
    'k_dpmpp_2m_sde': (COSINE, 'dpmpp_2m_sde', {}),
    'k_dpmpp_2m_sde_exact': (EDM, 'dpmpp_2m_sde', {'eta': 0.6, 'middle': False}),
    'k_dpmpp_3m': (COSINE, 'dpmpp_3m', {'halved': True}),
    'k_dpmpp_3m_sde': (FLOW, 'dpmpp_3m', {'eta': 1.0, 'halved': True}),
}

TIMESTEPS = {  # case -> (schedule, row, its options)
    'ddpm': (SD, 'leading', {}),
    'ddim_leading': (SD, 'leading', {'offset': 1}),
    'ddim_trailing': (SD, 'trailing', {}),
    'ddim_zero_snr': (ZERO_SNR, 'trailing', {}),
    'ddim_cosine': (COSINE_STEPS, 'trailing', {}),
    'ddim_linear': (LINEAR_STEPS, 'trailing', {}),
    'linspace': (SD, 'linspace', {}),
    'dpm_2m_leading': (SD, 'leading', {'offset': 1, 'more': 1}),
    'dpm_2m_karras': (SD, 'karras', {'sigma_min': 0.029167}),
    'dpm_2m_exact': (SD, 'exponential', {'sigma_min': 0.029167}),
    'edm_euler': (EDM, 'karras', {}),
    'flow_match_sd3': (FLOW, 'shifted', {}),
    'flow_match_flux': (FLOW, 'flux', {'tokens': 1024}),
    'k_euler': (COSINE, 'karras', {'sigma_min': 0.03, 'sigma_max': 14.0}),
}


def with_variance(denoise):
  """A network that says something of the variance, too, as the fixture's does."""
  def both(x, t):
    x0 = denoise(x, t)
    return jnp.concatenate([x0, (jnp.sin(3 * x0) + 1) / 2], -1)
  return both


@functools.cache
def times_at(schedule):
  """f64[n] values of sigma / alpha, which may be 0 and infinite -> times."""
  return jax.jit(
      lambda ratio: schedules.time_from_log_snr(schedule, -2 * jnp.log(ratio)))


@pytest.fixture
def given_noise(monkeypatch):
  """What a step is given for keys is the noise itself; and float64."""
  monkeypatch.setattr(posterior, 'noise_like', lambda keys, x: keys)
  with jax.enable_x64():
    yield


@pytest.mark.parametrize('case', list(CASES))
def test_ends_where_the_reference_does(case, given_noise):
  schedule, name, options = CASES[case]
  solver = solvers.SOLVERS[name](schedule, **options)
  denoise = DATA.denoiser(schedule)
  if solver.learned_variance:
    denoise = with_variance(denoise)
  guided = guidance.unguided(denoise)

  @jax.jit
  def draw(times):
    def body(carry, item):
      t, s, drawn = item
      return sampling.advance(guided, solver, carry, t, s, drawn), None
    x = START * jnp.hypot(*schedule(times[0]))
    items = times[:-1], times[1:], jnp.float64(NOISE[:len(times) - 1])
    return jax.lax.scan(body, (x, solver.init(x), ()), items)[0][0]

  got, expected = draw(times_at(schedule)(FOUND[f'{case}/ratio'])), FOUND[f'{case}/out']
  # diffusers' steps are float32, and its coefficients of DEIS cancel.
  slack = 1e-12 if case.startswith('k_') else {'deis_3': 1e-5}.get(case, 1e-6)
  np.testing.assert_allclose(got, expected, rtol=0, atol=slack * np.ptp(expected))


@pytest.mark.parametrize('case', list(TIMESTEPS))
def test_the_timesteps_are_those_of_the_reference(case):
  schedule, name, options = TIMESTEPS[case]
  expected = FOUND[f'{case}/ratio']
  spec = f'{name}({", ".join(f"{k}={v!r}" for k, v in options.items())})'
  times = timesteps.complete(specs.build(
      timesteps.TIMESTEPS, spec, 'x', schedule=schedule, steps=len(expected) - 1,
      t_max=1.0))
  got = np.exp(-0.5 * np.asarray(schedules.log_snr(schedule, times), np.float64))
  np.testing.assert_allclose(got, expected, rtol=3e-5)


def test_adaptive_takes_the_steps_of_the_reference():
  """The first errors are below float32's rounding, and the steps follow from them."""
  with jax.enable_x64():
    start, end = 14 / 15, 0.03 / 1.03  # sigma / alpha is 14 and 0.03
    draw = jax.jit(lambda x: solvers.dpm_solver_23(
        DATA.denoiser(FLOW), FLOW, x, start, end))
    got, count = draw(START * jnp.hypot(*FLOW(jnp.float64(start))))
  np.testing.assert_array_equal(count, FOUND['adaptive/count'] + 1)
  np.testing.assert_allclose(got, FOUND['adaptive/out'], rtol=0, atol=1e-10)
