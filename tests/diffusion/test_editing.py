"""Editing: what must stay, stays; what is turned round comes back."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import editing, sampling, schedule, solvers

MEAN, STD = 0.3, 0.5
KEYS = jax.random.split(jax.random.key(0), 4)
KNOWN = jax.random.uniform(jax.random.key(1), (4, 4, 4, 1), minval=-1)
MASK = jnp.zeros((4, 4, 4, 1)).at[:, :, 2:].set(1.0)


def denoiser(noise):
  """The best one for pictures of independent Gaussian pixels."""
  def denoise(x, t):
    alpha, sigma = noise(t)
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    return MEAN + gain * (x - alpha * MEAN)
  return denoise


def test_part_of_a_grid_is_its_end():
  times = jnp.linspace(1, 0, 11)
  np.testing.assert_array_equal(editing.part(times, 0.3), times[-4:])
  np.testing.assert_array_equal(editing.part(times, 1.0), times)
  np.testing.assert_array_equal(editing.part(times, 0.001), times[-2:])


@pytest.mark.parametrize('name', ['ddpm', 'dpmpp_2m'])
def test_blending_keeps_what_is_known(name):
  noise = schedule.flow
  eps = sampling.initial_noise(KEYS, (4, 4, 1))
  solver = editing.blended(solvers.SOLVERS[name](noise), noise, KNOWN, MASK, eps)
  got = sampling.sample(denoiser(noise), solver, eps, jnp.linspace(1, 0, 21), KEYS)
  free = sampling.sample(denoiser(noise), solvers.SOLVERS[name](noise), eps,
                         jnp.linspace(1, 0, 21), KEYS)
  np.testing.assert_allclose(got * (1 - MASK), KNOWN * (1 - MASK), atol=1e-6)
  np.testing.assert_allclose(got * MASK, free * MASK, atol=1e-5)  # independent pixels


def test_repaint_walks_its_grid():
  times = jnp.arange(6, -1, -1.0)
  got = editing.resampling(times, jump=2, repeats=3)
  expected = [6, 5, 4, 5, 6, 5, 4, 5, 6, 5, 4, 3, 2, 3, 4, 3, 2, 3, 4, 3, 2, 1, 0]
  np.testing.assert_array_equal(got, expected)
  np.testing.assert_array_equal(editing.resampling(times, 2, 1), times)


def test_repaint_keeps_what_is_known_and_draws_the_rest_from_the_data():
  noise, n = schedule.cosine, 500
  keys = jax.random.split(jax.random.key(0), n)
  known, mask = (jnp.broadcast_to(x[:1], (n, 4, 4, 1)) for x in (KNOWN, MASK))
  solver = editing.repainted(solvers.SOLVERS['ddpm'](noise), noise, known, mask)
  x_T = sampling.initial_noise(keys, (4, 4, 1))
  times = editing.resampling(jnp.linspace(1, 0, 61), 10, 3)
  got = sampling.sample(denoiser(noise), solver, x_T, times, keys)
  np.testing.assert_allclose(got * (1 - mask), known * (1 - mask), atol=1e-6)
  painted = got[:, :, 2:]
  np.testing.assert_allclose(painted.mean(), MEAN, atol=0.03)
  np.testing.assert_allclose(painted.std(), STD, atol=0.03)


def test_repaint_refuses_solvers_that_look_back():
  noise = schedule.flow
  solver = editing.repainted(solvers.SOLVERS['dpmpp_2m'](noise), noise, KNOWN, MASK)
  with pytest.raises(ValueError, match='without memory'):
    sampling.sample(denoiser(noise), solver, KNOWN, jnp.linspace(1, 0, 4), KEYS)


@pytest.mark.parametrize('noise', [schedule.flow, schedule.cosine, schedule.linear])
@pytest.mark.parametrize('solver, bound', [('ddim', 0.1), ('heun', 0.02)])
def test_inversion_finds_the_noise_and_comes_back(solver, bound, noise):
  errors = []
  for n in (50, 100):
    times = jnp.linspace(1, 0, n + 1)
    def follow(x, times):
      return sampling.sample(denoiser(noise), solvers.SOLVERS[solver](noise), x, times,
                             KEYS)
    x = follow(KNOWN, editing.upward(times))
    errors.append(float(jnp.sqrt(jnp.mean((follow(x, times) - KNOWN) ** 2))))
    alpha, sigma = noise(jnp.float32(1))
    spread = jnp.hypot(alpha * STD, sigma)
    exact = alpha * MEAN + spread * (KNOWN - MEAN) / STD
    assert jnp.abs(x - exact).max() < (0.3 if n == 50 else 0.2)
  assert errors[1] < 0.7 * errors[0] and errors[0] < bound


def test_between_two_noises_the_norm_is_kept():
  a, b = jax.random.normal(jax.random.key(0), (2, 64, 64, 3))
  norm = np.linalg.norm(a)
  for share in (0.0, 0.3, 0.5, 1.0):
    got = editing.between(a, b, share)
    np.testing.assert_allclose(np.linalg.norm(got), norm, rtol=0.02)
  np.testing.assert_allclose(editing.between(a, b, 0.0), a, atol=1e-5)
  np.testing.assert_allclose(editing.between(a, b, 1.0), b, atol=1e-5)
