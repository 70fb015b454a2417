"""Editing: what must stay, stays; what is turned round comes back."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import editing, guidance, process, sampling, schedules, solvers
from diffusion.gaussian import Gaussian

MEAN, STD = 0.3, 0.5
DATA = Gaussian(MEAN, STD)
KEYS = jax.random.split(jax.random.key(0), 4)
KNOWN = jax.random.uniform(jax.random.key(1), (4, 4, 4, 1), minval=-1)
MASK = jnp.zeros((4, 4, 4, 1)).at[:, :, 2:].set(1.0)


def denoiser(schedule):
  return guidance.unguided(DATA.denoiser(schedule))


def test_sdedit_takes_the_end_of_the_timesteps():
  times = jnp.linspace(1, 0, 11)
  np.testing.assert_array_equal(editing.sdedit_timesteps(times, 0.3), times[-4:])
  np.testing.assert_array_equal(editing.sdedit_timesteps(times, 1.0), times)
  np.testing.assert_array_equal(editing.sdedit_timesteps(times, 0.001), times[-2:])


@pytest.mark.parametrize('name', ['ddpm', 'dpmpp_2m'])
def test_blending_keeps_what_is_known(name):
  schedule = schedules.flow
  eps = sampling.initial_noise(KEYS, (4, 4, 1))
  solver = editing.inpaint(solvers.SOLVERS[name](schedule), schedule, KNOWN, MASK, eps)
  got = sampling.sample(denoiser(schedule), solver, eps, jnp.linspace(1, 0, 21), KEYS)
  free = sampling.sample(denoiser(schedule), solvers.SOLVERS[name](schedule), eps,
                         jnp.linspace(1, 0, 21), KEYS)
  np.testing.assert_allclose(got * (1 - MASK), KNOWN * (1 - MASK), atol=1e-6)
  np.testing.assert_allclose(got * MASK, free * MASK, atol=1e-5)  # independent pixels


def test_repaint_walks_its_timesteps():
  times = jnp.arange(6, -1, -1.0)
  got = editing.repaint_timesteps(times, jump=2, repeats=3)
  expected = [6, 5, 4, 5, 6, 5, 4, 5, 6, 5, 4, 3, 2, 3, 4, 3, 2, 3, 4, 3, 2, 1, 0]
  np.testing.assert_array_equal(got, expected)
  np.testing.assert_array_equal(editing.repaint_timesteps(times, 2, 1), times)


def test_repaint_keeps_what_is_known_and_draws_the_rest_from_the_data():
  schedule, n = schedules.cosine, 500
  keys = jax.random.split(jax.random.key(0), n)
  known, mask = (jnp.broadcast_to(x[:1], (n, 4, 4, 1)) for x in (KNOWN, MASK))
  solver = editing.repaint(solvers.SOLVERS['ddpm'](schedule), schedule, known, mask)
  x_T = sampling.initial_noise(keys, (4, 4, 1))
  times = editing.repaint_timesteps(jnp.linspace(1, 0, 61), 10, 3)
  got = sampling.sample(denoiser(schedule), solver, x_T, times, keys)
  np.testing.assert_allclose(got * (1 - mask), known * (1 - mask), atol=1e-6)
  painted = got[:, :, 2:]
  np.testing.assert_allclose(painted.mean(), MEAN, atol=0.03)
  np.testing.assert_allclose(painted.std(), STD, atol=0.03)


def test_repaint_refuses_solvers_that_look_back():
  solver = solvers.SOLVERS['dpmpp_2m'](schedules.flow)
  with pytest.raises(ValueError, match='without memory'):
    editing.repaint(solver, schedules.flow, KNOWN, MASK)


@pytest.mark.parametrize(
    'schedule', [schedules.flow, schedules.cosine, schedules.linear])
@pytest.mark.parametrize('solver, bound', [('ddim', 0.1), ('heun', 0.02)])
def test_inversion_finds_the_noise_and_comes_back(solver, bound, schedule):
  errors = []
  for n in (50, 100):
    times = jnp.linspace(1, 0, n + 1)
    def follow(x, times):
      return sampling.sample(
          denoiser(schedule), solvers.SOLVERS[solver](schedule), x, times, KEYS)
    x = follow(KNOWN, editing.inversion_timesteps(times))
    errors.append(float(jnp.sqrt(jnp.mean((follow(x, times) - KNOWN) ** 2))))
    exact = DATA.flow(schedule, KNOWN, jnp.float32(0), jnp.float32(1))
    assert jnp.abs(x - exact).max() < (0.3 if n == 50 else 0.2)
  assert errors[1] < 0.7 * errors[0] and errors[0] < bound


def test_between_two_noises_the_norm_is_kept():
  a, b = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
  norm = np.linalg.norm(a)
  for frac in (0.0, 0.3, 0.5, 1.0):
    got = editing.slerp(a, b, frac)
    np.testing.assert_allclose(np.linalg.norm(got), norm, rtol=0.02)
  np.testing.assert_allclose(editing.slerp(a, b, 0.0), a, atol=1e-5)
  np.testing.assert_allclose(editing.slerp(a, b, 1.0), b, atol=1e-5)


@pytest.mark.parametrize('jump, repeats', [(2, 3), (3, 2)])
def test_a_rule_that_remembers_repaints_as_a_loop_by_hand_does(jump, repeats):
  """The state of guidance is threaded by hand: a step up leaves it as it is."""
  schedule, solver = schedules.flow, solvers.SOLVERS['ddim'](schedules.flow, eta=0.5)
  rule, cond = guidance.apg(momentum=-0.5, eta=0.3), DATA.denoiser(schedule)
  uncond = Gaussian(-0.4, 0.3).denoiser(schedule)
  guided = guidance.guided(lambda x, t: (cond(x, t), uncond(x, t)), cond, rule, 3.0)
  times = editing.repaint_timesteps(jnp.linspace(1, 0, 7), jump, repeats)
  x_T = sampling.initial_noise(KEYS, (4, 4, 1))
  fill = editing.FILLS['repaint'](jump, repeats)
  got = jax.jit(lambda x: sampling.sample(
      guided, fill.solver(solver, schedule, KNOWN, MASK, x), x, times, KEYS))(x_T)

  def fold(keys, i):
    return jax.vmap(lambda key: jax.random.fold_in(key, i))(keys)
  def normal(keys):
    return jax.vmap(lambda key: jax.random.normal(key, (4, 4, 1)))(keys)
  x, state = x_T, jnp.zeros_like(x_T)
  for i, (t, s) in enumerate(zip(times[:-1], times[1:]), 1):
    keys, (alpha, sigma), (alpha_s, sigma_s) = fold(KEYS, i), schedule(t), schedule(s)
    if s > t:
      kept = alpha_s / alpha
      x = kept * x + jnp.sqrt(sigma_s**2 - (kept * sigma)**2) * normal(fold(keys, 1))
      continue
    x0, state = rule.combine(x, t, cond(x, t), uncond(x, t), 3.0, state)
    x, _ = solver.step(None, x, x0, (), t, s, keys)
    there = process.add_noise(KNOWN, normal(fold(keys, 2)), alpha_s, sigma_s)
    x = MASK * x + (1 - MASK) * there
  np.testing.assert_allclose(got, x, atol=2e-5)
  np.testing.assert_allclose(got * (1 - MASK), KNOWN * (1 - MASK), atol=1e-6)


@pytest.mark.parametrize('fill', sorted(set(editing.FILLS) - {'network'}))
def test_what_is_put_back_takes_a_solver_with_steps(fill):
  solver = solvers.SOLVERS['adaptive'](schedules.flow)
  seen = editing.FILLS['network']().solver(solver, schedules.flow, KNOWN, MASK, KNOWN)
  assert seen is solver  # a network that sees the mask needs no other
  with pytest.raises(ValueError, match='with steps'):
    editing.FILLS[fill]().solver(solver, schedules.flow, KNOWN, MASK, KNOWN)


def test_fills_say_what_they_take():
  assert editing.FILLS['blend']().remembers and not editing.FILLS['repaint']().remembers
  for options in ({'jump': 0}, {'repeats': 0}):
    with pytest.raises(ValueError, match='must be above 0'):
      editing.FILLS['repaint'](**options)
