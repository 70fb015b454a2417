"""Solvers on data whose exact path, or distribution, is known."""
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import solvers as measured
from benchmarks.solvers import MEAN, SHAPE, STD, denoiser, exact
from diffusion import grids, sampling, schedule, solvers

SCHEDULES = schedule.SCHEDULES | {
    'SD, zero SNR': schedule.make('scaled_linear', steps=1000, zero_snr=True)}
ORDERS = [  # solver, its options, its order
    ('ddim', {}, 1), ('euler', {}, 1), ('heun', {}, 2), ('edm', {'churn': 0.0}, 2),
    ('dpmpp_2s', {}, 2), ('dpmpp_2m', {}, 2), ('dpmpp_2m', {'middle': False}, 2),
    ('dpmpp_3m', {}, 3), ('dpmpp_3m', {'halved': True}, 2), ('unipc', {}, 3),
    ('unipc', {'order': 3}, 4), ('deis', {'order': 2}, 2), ('deis', {}, 3),
    ('lms', {'order': 2}, 2), ('lms', {'order': 3}, 3), ('lms', {}, 4)]
STOCHASTIC = [  # solver, its options, a schedule
    ('ddpm', {}, 'linear'), ('ddpm', {'variance': 'large'}, 'edm'),
    ('ddpm', {'variance': 'large'}, 'scaled_linear'), ('ddim', {'eta': 0.5}, 'flow'),
    ('euler_ancestral', {}, 'edm'), ('edm', {}, 'edm'),
    ('edm', {'churn': 0.1, 'noise': 1.0, 'low': 0.0}, 'flow'),
    ('dpmpp_2s', {'eta': 1.0}, 'cosine'), ('dpmpp_2m_sde', {}, 'flow'),
    ('dpmpp_2m_sde', {'eta': 0.5}, 'edm'), ('dpmpp_3m', {'eta': 1.0}, 'SD, zero SNR')]


def start_of(noise, t, n: int, shape=SHAPE):
  """(keys, x at time t) of n pictures."""
  keys = jax.random.split(jax.random.key(0), n)
  return keys, sampling.prior(noise, t, sampling.initial_noise(keys, shape))


@pytest.mark.parametrize('solver, options, order, name', [
    *((*row, 'linear') for row in ORDERS), *((*row, 'flow') for row in ORDERS[:6])])
def test_converges_at_its_order(solver, options, order, name):
  """Between two times inside, where every schedule is smooth."""
  noise = schedule.SCHEDULES[name]
  with jax.enable_x64():
    got = measured.order_of(solvers.SOLVERS[solver](noise, **options), noise)
  np.testing.assert_allclose(got, order, atol=0.3)


def test_the_table_of_the_docs_says_what_is_so():
  """All of it but the count of evaluations, which takes long: calls a step instead."""
  text = (pathlib.Path(measured.ROOT) / 'docs' / 'solvers.md').read_text()
  lines = text.split(measured.MARK)[1].strip().split('\n')[2:]
  rows = [[cell.strip(' `') for cell in line.split('|')[1:-1]] for line in lines]
  orders = {(name, str(options)): order for name, options, order in ORDERS}
  assert {name for name, *_ in rows} == set(solvers.SOLVERS)
  for row, (name, options, *others) in zip(rows, measured.ROWS, strict=True):
    solver, calls = solvers.SOLVERS[name](schedule.flow, **options), []
    def denoise(x, t):
      calls.append(t)
      return x
    keys = jax.random.split(jax.random.key(0), 1)
    jax.eval_shape(lambda x, t: solver.step(denoise, x, solver.init(x), t, t, keys),
                   jnp.zeros((1, *SHAPE)), jnp.float32(1))
    said = ', '.join(f'{k}={v!r}' for k, v in options.items())
    order = str(orders.get((name, str(options)), 'draws noise'))
    assert row[:3] == [name, said, order]
    assert int(row[3]) in {1: (20,), 2: (38, 39)}[len(calls)]
    assert row[4:] == [str(measured.memory(solver)), *others]


def all_solvers(noise, times, denoise):
  """(x, keys) -> where each solver takes x, a dict; one program, no fresh noise."""
  calm = {'edm': {'churn': 0.0}, 'euler_ancestral': {'eta': 0.0},
          'dpmpp_2m_sde': {'eta': 0.0}}
  return jax.jit(lambda x, keys: {name: sampling.sample(
      denoise, solvers.SOLVERS[name](noise, **calm.get(name, {})), x, times, keys)
      for name in solvers.SOLVERS})


@pytest.mark.parametrize('name', ['edm', 'SD, zero SNR'])
def test_every_solver_goes_all_the_way(name):
  """From t = 1, where alpha may be 0, to t = 0 where sigma is."""
  noise = SCHEDULES[name]
  times = grids.make('karras' if name == 'edm' else 'linear', noise, 100)
  keys, x = start_of(noise, times[0], 4)
  expected = exact(noise, x, times[0], 0.0)
  for solver, got in all_solvers(noise, times, denoiser(noise))(x, keys).items():
    assert jnp.isfinite(got).all(), solver
    if solver not in ('ddpm', 'lcm'):
      slack = 0.04 if solver in ('ddim', 'euler', 'euler_ancestral') else 0.02
      np.testing.assert_allclose(got, expected, atol=slack, err_msg=solver)


@pytest.fixture(scope='module')
def few_steps():
  """All solvers on `flow`, with a denoiser that must not be asked at t = 0."""
  noise = schedule.flow
  return all_solvers(noise, jnp.linspace(1, 0, 6), lambda x, t: jnp.where(
      t > 0, denoiser(noise)(x, t), jnp.nan))


def test_no_solver_evaluates_at_time_zero(few_steps):
  keys, x = start_of(schedule.flow, jnp.float32(1), 6)
  for solver, got in few_steps(x, keys).items():
    assert jnp.isfinite(got).all(), solver


def test_a_picture_does_not_depend_on_the_others(few_steps):
  keys, x = start_of(schedule.flow, jnp.float32(1), 6)
  among = few_steps(x, keys)
  others = few_steps((x * 3).at[2:4].set(x[2:4]), keys[::-1].at[2:4].set(keys[2:4]))
  for solver, got in others.items():
    assert not np.allclose(got[0], among[solver][0]) or solver == 'lcm'
    np.testing.assert_allclose(
        got[2:4], among[solver][2:4], atol=1e-6, err_msg=solver)


def test_euler_on_straight_paths_is_ddim(few_steps):
  keys, x = start_of(schedule.flow, jnp.float32(1), 6)
  ends = few_steps(x, keys)
  np.testing.assert_allclose(ends['euler'], ends['ddim'], atol=1e-5)


def two_modes(noise, blur=0.1):
  """Of pixels that are -1 with probability 0.3 and 1 with 0.7, a little blurred."""
  def denoise(x, t):
    alpha, sigma = noise(t)
    variance = alpha**2 * blur**2 + sigma**2
    share = jax.nn.sigmoid(jnp.log(0.7 / 0.3) + 2 * alpha * x / variance)
    each = lambda mode: mode + alpha * blur**2 / variance * (x - alpha * mode)
    return share * each(1.0) + (1 - share) * each(-1.0)
  return denoise


@pytest.mark.parametrize('solver, options, name', STOCHASTIC)
def test_draws_have_the_distribution_of_the_data(solver, options, name):
  """The upper row of pixels is Gaussian, the lower has two modes."""
  noise = SCHEDULES[name]
  times = grids.make('karras', noise, 300)
  keys, x = start_of(noise, times[0], 100, (2, 50, 1))
  def denoise(x, t):
    upper, lower = jnp.split(x, 2, axis=1)
    return jnp.concatenate(
        [denoiser(noise)(upper, t), two_modes(noise)(lower, t)], axis=1)
  got = jax.jit(lambda x: sampling.sample(
      denoise, solvers.SOLVERS[solver](noise, **options), x, times, keys))(x)
  upper, lower = jnp.split(got, 2, axis=1)  # 5,000 numbers each
  np.testing.assert_allclose([upper.mean(), upper.std()], [MEAN, STD], atol=0.03)
  np.testing.assert_allclose((lower > 0).mean(), 0.7, atol=0.03)
  np.testing.assert_allclose(jnp.abs(lower).mean(), 1.0, atol=0.02)


def test_lcm_draws_from_a_consistency_function():
  noise, times = schedule.flow, jnp.linspace(1, 0, 5)
  keys, x = start_of(noise, times[0], 4000)
  got = sampling.sample(lambda x, t: exact(noise, x, t, 0.0),
                        solvers.SOLVERS['lcm'](noise), x, times, keys)
  np.testing.assert_allclose([got.mean(), got.std()], [MEAN, STD], atol=0.015)


@pytest.mark.parametrize('name, options, said', [
    ('ddpm', {'variance': 'small'}, "variance is 'small'; ddpm takes 'large'"),
    ('unipc', {'order': 1}, 'order is 1; unipc takes 2 or 3')])
def test_what_is_no_solver_is_refused(name, options, said):
  with pytest.raises(ValueError, match=said):
    solvers.SOLVERS[name](schedule.flow, **options)


def test_a_film_ends_with_the_picture():
  keys = jax.random.split(jax.random.key(0), 2)
  x = sampling.initial_noise(keys, SHAPE)
  got, way = sampling.sample(
      denoiser(schedule.flow), solvers.SOLVERS['ddim'](schedule.flow), x,
      jnp.linspace(1, 0, 6), keys, film=True)
  assert way.shape == (5, *got.shape)
  np.testing.assert_array_equal(way[-1], got)


def adapted(noise, start, end, x, tolerance, **options):
  return jax.jit(lambda x, tolerance: solvers.adaptive(
      denoiser(noise), noise, x, start, end, rtol=tolerance, atol=tolerance, **options)
  )(x, tolerance)


@pytest.mark.parametrize('name', ['linear', 'edm'])
def test_adaptive_comes_as_close_as_it_is_asked(name):
  noise, (start, end) = schedule.SCHEDULES[name], (0.9, 1e-3)
  _, x = start_of(noise, jnp.float32(start), 4)
  expected = denoiser(noise)(exact(noise, x, start, end), jnp.float32(end))
  errors, counts = [], []
  for tolerance in (3e-2, 1e-3):
    got, count = adapted(noise, start, end, x, tolerance)
    errors.append(jnp.abs(got - expected).max())
    counts.append(count.max())
    assert errors[-1] < 3 * tolerance
  assert errors[1] < errors[0] / 5 and counts[0] < counts[1] < 200


def test_adaptive_pictures_do_not_depend_on_each_other():
  noise = schedule.flow
  x = sampling.initial_noise(jax.random.split(jax.random.key(0), 6), SHAPE)
  x = x * jnp.array([0.1, 1, 10, 0.1, 1, 10]).reshape(6, 1, 1, 1)
  got, count = adapted(noise, 0.99, 0.01, x, 1e-3)
  assert len(set(np.asarray(count).tolist())) > 1
  alone, count_alone = adapted(noise, 0.99, 0.01, x[2:4], 1e-3)
  np.testing.assert_array_equal(count[2:4], count_alone)
  np.testing.assert_allclose(got[2:4], alone, atol=1e-6)


def test_adaptive_stops_at_its_cap():
  noise = schedule.flow
  x = sampling.initial_noise(jax.random.split(jax.random.key(0), 2), SHAPE)
  got, count = adapted(noise, 0.99, 0.01, x, 1e-6, most=30)
  assert (count > 26).all() and (count <= 30).all() and jnp.isfinite(got).all()
