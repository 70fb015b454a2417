"""Solvers on data whose exact path is known.

For x0 ~ N(m, s^2) the best denoiser is linear, and the probability-flow ODE carries
x_T to m alpha + sqrt(alpha^2 s^2 + sigma^2) z with a z that never changes.
"""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import sampling, schedule, solvers

MEAN, STD = 0.3, 0.5


def denoiser(noise):
  def denoise(x, t):
    alpha, sigma = noise(t)
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    return MEAN + gain * (x - alpha * MEAN)
  return denoise


def exact(noise, x, t, s):
  spread = lambda alpha, sigma: jnp.sqrt(alpha**2 * STD**2 + sigma**2)
  now, then = noise(t), noise(s)
  return then[0] * MEAN + spread(*then) / spread(*now) * (x - now[0] * MEAN)


def draw(solver, noise, steps, n=4, start=1.0, end=0.0, key=0):
  keys = jax.random.split(jax.random.key(key), n)
  times = jnp.linspace(start, end, steps + 1)
  x = sampling.initial_noise(keys, (2, 2, 1))
  return x, sampling.sample(denoiser(noise), solver(noise), x, times, keys)


@pytest.mark.parametrize('name', list(schedule.SCHEDULES))
@pytest.mark.parametrize('solver, order', [
    (solvers.ddim, 1), (solvers.euler, 1), (solvers.heun, 2), (solvers.dpmpp_2m, 2)])
def test_converges_at_its_order(solver, order, name):
  """Between two times inside, where every schedule is smooth."""
  noise, errors = schedule.SCHEDULES[name], []
  with jax.enable_x64():
    for steps in (40, 80):
      x, got = draw(solver, noise, steps, start=0.8, end=0.3)
      errors.append(float(jnp.abs(got - exact(noise, x, 0.8, 0.3)).max()))
  np.testing.assert_allclose(np.log2(errors[0] / errors[1]), order, atol=0.2)


@pytest.mark.parametrize('name', list(schedule.SCHEDULES))
@pytest.mark.parametrize('solver', ['ddim', 'euler', 'heun', 'dpmpp_2m'])
def test_goes_all_the_way_from_noise_to_data(solver, name):
  noise = schedule.SCHEDULES[name]
  x, got = draw(solvers.SOLVERS[solver], noise, 200)
  np.testing.assert_allclose(got, exact(noise, x, 1.0, 0.0), atol=0.03)


@pytest.mark.parametrize('name', list(schedule.SCHEDULES))
def test_ddpm_has_the_mean_and_variance_of_the_data(name):
  _, got = draw(solvers.ddpm, schedule.SCHEDULES[name], 400, n=4000)
  np.testing.assert_allclose(got.mean(), MEAN, atol=0.02)
  np.testing.assert_allclose(got.std(), STD, atol=0.02)


def test_euler_on_straight_paths_is_ddim():
  _, a = draw(solvers.euler, schedule.flow, 7)
  _, b = draw(solvers.ddim, schedule.flow, 7)
  np.testing.assert_allclose(a, b, atol=1e-5)


def test_no_solver_evaluates_at_time_zero():
  for solver in solvers.SOLVERS.values():
    def denoise(x, t):
      return jnp.where(t > 0, 0.5 * x, jnp.nan)
    keys = jax.random.split(jax.random.key(0), 2)
    x = sampling.initial_noise(keys, (2, 2, 1))
    got = sampling.sample(
        denoise, solver(schedule.flow), x, sampling.time_grid(3), keys)
    assert jnp.isfinite(got).all()


@pytest.mark.parametrize('solver', list(solvers.SOLVERS))
def test_a_picture_does_not_depend_on_the_others(solver):
  keys = jax.random.split(jax.random.key(5), 6)
  def run(keys):
    x = sampling.initial_noise(keys, (2, 2, 1))
    return sampling.sample(denoiser(schedule.flow),
                           solvers.SOLVERS[solver](schedule.flow), x,
                           sampling.time_grid(5), keys)
  np.testing.assert_allclose(run(keys)[2:4], run(keys[2:4]), atol=1e-6)


def test_a_film_ends_with_the_picture():
  keys = jax.random.split(jax.random.key(0), 2)
  x = sampling.initial_noise(keys, (2, 2, 1))
  got, way = sampling.sample(denoiser(schedule.flow), solvers.ddim(schedule.flow), x,
                             sampling.time_grid(5), keys, film=True)
  assert way.shape == (5, *got.shape)
  np.testing.assert_array_equal(way[-1], got)
