"""One algebra: every conversion and every weight agrees with every other."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import process, schedules

X0 = jax.random.uniform(jax.random.key(0), (9, 4, 4, 3), minval=-1)
EPS = jax.random.normal(jax.random.key(1), X0.shape)
T = jnp.linspace(0.05, 0.95, 9)
TARGETS = {name: target() for name, target in process.TARGETS.items()}
PAIRS = [(s, k) for s in schedules.SCHEDULES for k in TARGETS]
LOG_SNR = jnp.linspace(-20, 20, 81)
FAMILIES = {  # log_snr -> (alpha, sigma)
    'preserving': lambda l: (jnp.sqrt(jax.nn.sigmoid(l)), jnp.sqrt(jax.nn.sigmoid(-l))),
    'straight': lambda l: (jax.nn.sigmoid(l / 2), jax.nn.sigmoid(-l / 2)),
    'exploding': lambda l: (jnp.ones_like(l), jnp.exp(-l / 2)),
}


@pytest.mark.parametrize('name, kind', PAIRS)
def test_a_perfect_prediction_gives_back_picture_and_noise(name, kind):
  alpha, sigma = schedules.SCHEDULES[name]()(T)
  target = TARGETS[kind]
  x_t = process.add_noise(X0, EPS, alpha, sigma)
  perfect = process.target_value(target, X0, EPS, alpha, sigma)
  x0 = process.to_x0(target, perfect, x_t, alpha, sigma)
  slack = 3e-6 * float((jnp.hypot(alpha, sigma) / alpha).max())
  np.testing.assert_allclose(x0, X0, atol=slack)
  np.testing.assert_allclose(process.to_eps(X0, x_t, alpha, sigma), EPS, atol=1e-4)


@pytest.mark.parametrize('family', list(FAMILIES))
@pytest.mark.parametrize('to', list(TARGETS))
@pytest.mark.parametrize('kind', list(TARGETS))
def test_any_target_becomes_any_other_over_the_whole_range(kind, to, family):
  """In float32, against float64 as far as the inputs' own rounding goes."""
  alpha, sigma = FAMILIES[family](LOG_SNR)
  target, other = TARGETS[kind], TARGETS[to]
  x0, eps = jnp.float32(0.3), jnp.float32(-1.2)
  (a, b), (c, d) = (
      [np.broadcast_to(np.float64(v), LOG_SNR.shape) for v in r(alpha, sigma)]
      for r in (target, other))
  x_t = alpha * x0 + sigma * eps
  pred = jnp.float32(a * x0 + b * eps)
  got = process.convert(target, other, pred, x_t, alpha, sigma)
  assert jnp.isfinite(got).all()
  alpha, sigma = np.float64(alpha), np.float64(sigma)
  det = b * alpha - a * sigma
  from_x, from_pred = (c * b - d * a) / det, (d * alpha - c * sigma) / det
  exact = from_x * np.float64(x_t) + from_pred * np.float64(pred)
  size = np.abs(from_x * np.float64(x_t)) + np.abs(from_pred * np.float64(pred))
  np.testing.assert_array_less(np.abs(got - exact), 2e-6 * size + 1e-6)


@pytest.mark.parametrize('kind', list(TARGETS))
def test_weights_turn_an_error_of_x0_into_that_of_the_target(kind):
  alpha, sigma = schedules.cosine(T)
  target, wrong = TARGETS[kind], X0 + 0.1
  x_t = process.add_noise(X0, EPS, alpha, sigma)
  as_target = process.convert(TARGETS['x0'], target, wrong, x_t, alpha, sigma)
  perfect = process.target_value(target, X0, EPS, alpha, sigma)
  error = jnp.square(as_target - perfect).mean((1, 2, 3))
  np.testing.assert_allclose(
      error, process.x0_weight(target, alpha, sigma) * 0.01, rtol=2e-3)


@pytest.mark.parametrize('kind', list(TARGETS))
def test_a_weight_depends_on_the_log_snr_alone(kind):
  weights = [process.x0_weight(TARGETS[kind], *family(LOG_SNR))
             for family in FAMILIES.values()]
  for other in weights[1:]:
    np.testing.assert_allclose(other, weights[0], rtol=1e-5)


def test_flow_is_the_slope_of_its_path():
  x_t = lambda t: process.add_noise(X0, EPS, *schedules.flow(t))
  slope = jax.jvp(x_t, (T,), (jnp.ones_like(T),))[1]
  np.testing.assert_allclose(
      slope, process.target_value(TARGETS['flow'], X0, EPS, *schedules.flow(T)),
      atol=1e-6)


def test_v_is_the_slope_of_the_cosine_path():
  """arXiv:2202.00512, appendix D: d x / d phi with phi = pi t / 2."""
  x_t = lambda t: process.add_noise(X0, EPS, *schedules.cosine(t))
  slope = jax.jvp(x_t, (T,), (jnp.ones_like(T),))[1] / (jnp.pi / 2)
  np.testing.assert_allclose(
      slope, process.target_value(process.v, X0, EPS, *schedules.cosine(T)), atol=1e-5)


def test_edm_is_its_preconditioning():
  """arXiv:2206.00364 table 1: D = c_skip x + c_out F at alpha = 1."""
  std, sigma = 0.7, jnp.geomspace(0.002, 80, 9)
  x_t = X0 + process.append_dims(sigma, X0) * EPS
  c_skip = std**2 / (sigma**2 + std**2)
  c_out = sigma * std / jnp.sqrt(sigma**2 + std**2)
  f = jax.random.normal(jax.random.key(2), X0.shape)
  expected = process.append_dims(c_skip, X0) * x_t + process.append_dims(c_out, X0) * f
  got = process.to_x0(process.edm(std), f, x_t, jnp.ones_like(sigma), sigma)
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
      process.x0_weight(process.edm(std), jnp.ones_like(sigma), sigma), 1 / c_out**2,
      rtol=1e-5)


def test_a_scaled_network_sees_unit_variance():
  x_t = 0.5 * jax.random.normal(jax.random.key(3), (3, 64, 64, 1))
  t = jnp.array([0.01, 0.1, 0.9])
  x_t = process.add_noise(x_t, jax.random.normal(jax.random.key(4), x_t.shape),
                          *schedules.edm(t))
  seen = process.preconditioned(lambda x, t: x, schedules.edm, 0.5)(x_t, t)
  np.testing.assert_allclose(seen.std((1, 2, 3)), 1, atol=0.05)


def rounding(source, target, alpha, sigma, x_error, pred_error):
  """How far errors of x_t and of a prediction may carry, with the terms' own signs."""
  (a, b), (c, d) = source(alpha, sigma), target(alpha, sigma)
  det = jnp.abs(b * alpha - a * sigma)
  of_x, of_pred = abs(c * b) + abs(d * a), abs(d * alpha) + abs(c * sigma)
  return (process.append_dims(of_x / det, X0) * x_error
          + process.append_dims(of_pred / det, X0) * pred_error)


def test_conversions_agree_on_any_schedule_drawn_at_random():
  """A target becomes the others exactly, straight and by way of another."""
  seed = int(np.random.SeedSequence().entropy % 2**32)
  print('seed', seed)  # shown where it fails
  rng = np.random.default_rng(seed)
  for _ in range(20):
    name = rng.choice(list(schedules.SCHEDULES))
    options = {'shift': float(np.exp(rng.normal()))}
    if name not in ('flow', 'edm'):
      options |= {'steps': int(rng.choice([0, 50, 1000])),
                  'zero_snr': bool(rng.integers(2)) and name != 'cosine'}
    alpha, sigma = schedules.SCHEDULES[name](**options)(
        jnp.float32(rng.uniform(0.02, 0.95, 9)))
    source, middle, end = (process.TARGETS[rng.choice(list(TARGETS))]()
                           for _ in range(3))
    def value(target):
      """What is predicted, and the size of its terms."""
      a, b = target(alpha, sigma)
      return (process.target_value(target, X0, EPS, alpha, sigma),
              process.target_value(lambda *_: (abs(a), abs(b)), abs(X0), abs(EPS),
                                   alpha, sigma))
    x_t = process.add_noise(X0, EPS, alpha, sigma)
    x_error = 1e-6 * process.add_noise(abs(X0), abs(EPS), alpha, sigma)
    (pred, size), (there, _), (expected, _) = map(value, (source, middle, end))
    near = rounding(source, middle, alpha, sigma, x_error, 1e-6 * size)
    far = rounding(source, end, alpha, sigma, x_error, 1e-6 * size)
    bent = rounding(middle, end, alpha, sigma, x_error, near)
    got = process.convert(source, middle, pred, x_t, alpha, sigma)
    straight = process.convert(source, end, pred, x_t, alpha, sigma)
    again = process.convert(middle, end, got, x_t, alpha, sigma)
    assert (abs(got - there) <= near).all() and (abs(straight - expected) <= far).all()
    assert (abs(again - expected) <= bent).all()


def test_a_process_noises_as_its_schedule_says():
  got = process.Process(schedules.flow, process.v).add_noise(X0, EPS, T)
  np.testing.assert_array_equal(got, process.add_noise(X0, EPS, 1 - T, T))


def test_data_without_spread_are_refused():
  with pytest.raises(ValueError, match='data_std is 0; it must be above 0'):
    process.edm(0)
