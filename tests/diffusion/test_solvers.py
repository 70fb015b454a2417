"""Solvers on data whose exact path, or distribution, is known."""
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import solvers as measured
from benchmarks.solvers import DATA, SHAPE
from diffusion import guidance, levels, sampling, schedules, solvers, timesteps
from diffusion.gaussian import Mixture

SCHEDULES = {name: row() for name, row in schedules.SCHEDULES.items()} | {
    'SD, zero SNR': schedules.SCHEDULES['scaled_linear'](steps=1000, zero_snr=True)}
MODES = Mixture(jnp.array([-1.0, 1.0]).reshape(2, 1, 1, 1), 0.1, jnp.array([0.3, 0.7]))
STEPPED = [name for name, row in solvers.SOLVERS.items()
           if row(schedules.flow).solve is None and not row(schedules.flow).maps]
ORDERS = [  # solver, its options, its order
    ('ddim', {}, 1), ('euler', {}, 1), ('heun', {}, 2), ('edm', {'churn': 0.0}, 2),
    ('heun', {'of_ratio': True}, 2), ('dpm2', {}, 2),
    ('dpmpp_2s', {}, 2), ('dpmpp_2m', {}, 2), ('dpmpp_2m', {'middle': False}, 2),
    ('dpmpp_3m', {}, 3), ('dpmpp_3m', {'halved': True}, 2), ('unipc', {}, 3),
    ('unipc', {'order': 3}, 4), ('deis', {'order': 2}, 2), ('deis', {}, 3),
    ('dpmpp', {}, 2), ('dpmpp', {'order': 3}, 2), ('dpm', {}, 2), ('plms', {}, 2),
    ('dpmpp_singlestep', {}, 2), ('lms', {'order': 2}, 2), ('lms', {'order': 3}, 3),
    ('lms', {}, 4)]
STOCHASTIC = [  # solver, its options, a schedule
    ('ddpm', {}, 'linear'), ('ddpm', {'variance': 'large'}, 'edm'),
    ('ddpm', {'variance': 'large'}, 'scaled_linear'), ('ddim', {'eta': 0.5}, 'flow'),
    ('euler_ancestral', {}, 'edm'), ('edm', {}, 'edm'),
    ('dpm2', {'eta': 1.0}, 'cosine'), ('dpmpp', {'eta': 1.0}, 'edm'),
    ('dpmpp_singlestep', {'eta': 1.0}, 'edm'),
    ('edm', {'churn': 0.1, 'noise': 1.0, 'low': 0.0}, 'flow'),
    ('dpmpp_2s', {'eta': 1.0}, 'cosine'), ('dpmpp_2m_sde', {}, 'flow'),
    ('dpmpp_2m_sde', {'eta': 0.5}, 'edm'), ('dpmpp_3m', {'eta': 1.0}, 'SD, zero SNR')]


def karras(schedule, steps: int):
  return timesteps.complete(levels.karras(schedule, steps, 1.0))


def sample(denoise, solver, *args, **kwargs):
  guided = guidance.unguided(denoise)
  return sampling.sample((lambda s: guided) if solver.maps else guided, solver, *args,
                         **kwargs)


def start_of(schedule, t, n: int, shape=SHAPE):
  """(keys, x at time t) of n pictures."""
  keys = jax.random.split(jax.random.key(0), n)
  return keys, sampling.marginal(schedule, t, sampling.initial_noise(keys, shape))


@pytest.mark.parametrize('solver, options, order, name', [
    *((*row, 'linear') for row in ORDERS), *((*row, 'flow') for row in ORDERS[:8])])
def test_converges_at_its_order(solver, options, order, name):
  """Between two times inside, where every schedule is smooth."""
  schedule = SCHEDULES[name]
  with jax.enable_x64():
    got = measured.order_of(solvers.SOLVERS[solver](schedule, **options), schedule)
  np.testing.assert_allclose(got, order, atol=0.3)


def test_the_table_of_the_docs_says_what_is_so():
  """All of it but the count of evaluations, which takes long: calls a step instead."""
  text = (pathlib.Path(measured.ROOT) / 'docs' / 'solvers.md').read_text()
  lines = text.split(measured.MARK)[1].strip().split('\n')[2:]
  rows = [[cell.strip(' `') for cell in line.split('|')[1:-1]] for line in lines]
  orders = {(name, str(options)): order for name, options, order in ORDERS}
  assert {name for name, *_ in rows} == set(STEPPED)
  for row, (name, options, *others) in zip(rows, measured.ROWS, strict=True):
    solver, calls = solvers.SOLVERS[name](schedules.flow, **options), []
    def denoise(x, t):
      calls.append(t)
      return x
    keys = jax.random.split(jax.random.key(0), 1)
    guided = guidance.unguided(denoise)
    jax.eval_shape(lambda x, t: sampling.advance(
        guided, solver, (x, solver.init(x), ()), t, t, keys),
                   jnp.zeros((1, *SHAPE)), jnp.float32(1))
    said = ', '.join(f'{k}={v!r}' for k, v in options.items())
    order = str(orders.get((name, str(options)), 'draws noise'))
    assert row[:3] == [name, said, order]
    assert int(row[3]) in {1: (20,), 2: (38, 39, 21)}[len(calls)]
    assert row[4:] == [str(measured.memory(solver)), *others]


def all_solvers(schedule, times, denoise):
  """(x, keys) -> where each solver takes x, a dict; one program, no fresh noise."""
  calm = {'edm': {'churn': 0.0}, 'euler_ancestral': {'eta': 0.0},
          'dpmpp_2m_sde': {'eta': 0.0}}
  return jax.jit(lambda x, keys: {name: sample(
      denoise, solvers.SOLVERS[name](schedule, **calm.get(name, {})), x, times, keys)
      for name in STEPPED})


@pytest.mark.parametrize('name', ['edm', 'SD, zero SNR'])
def test_every_solver_goes_all_the_way(name):
  """From t = 1, where alpha may be 0, to t = 0 where sigma is."""
  schedule = SCHEDULES[name]
  times = karras(schedule, 100) if name == 'edm' else jnp.linspace(1, 0, 101)
  keys, x = start_of(schedule, times[0], 4)
  expected = DATA.flow(schedule, x, times[0], 0.0)
  ends = all_solvers(schedule, times, DATA.denoiser(schedule))(x, keys)
  for solver, got in ends.items():
    assert jnp.isfinite(got).all(), solver
    if solver not in ('ddpm', 'lcm', 'tcd', 'plms'):  # its steps are to be equal
      rough = ('ddim', 'euler', 'euler_ancestral', 'dpmpp_singlestep')  # half the steps
      slack = 0.04 if solver in rough else 0.02
      np.testing.assert_allclose(got, expected, atol=slack, err_msg=solver)


@pytest.fixture(scope='module')
def few_steps():
  """All solvers on `flow`, with a denoiser that must not be asked at t = 0."""
  schedule = schedules.flow
  return all_solvers(schedule, jnp.linspace(1, 0, 6), lambda x, t: jnp.where(
      t > 0, DATA.denoiser(schedule)(x, t), jnp.nan))


def test_no_solver_evaluates_at_time_zero(few_steps):
  keys, x = start_of(schedules.flow, jnp.float32(1), 6)
  for solver, got in few_steps(x, keys).items():
    assert jnp.isfinite(got).all(), solver


def test_a_picture_does_not_depend_on_the_others(few_steps):
  keys, x = start_of(schedules.flow, jnp.float32(1), 6)
  among = few_steps(x, keys)
  others = few_steps((x * 3).at[2:4].set(x[2:4]), keys[::-1].at[2:4].set(keys[2:4]))
  for solver, got in others.items():
    assert not np.allclose(got[0], among[solver][0]) or solver in ('lcm', 'tcd')
    np.testing.assert_allclose(
        got[2:4], among[solver][2:4], atol=1e-6, err_msg=solver)


def test_euler_on_straight_paths_is_ddim(few_steps):
  keys, x = start_of(schedules.flow, jnp.float32(1), 6)
  ends = few_steps(x, keys)
  np.testing.assert_allclose(ends['euler'], ends['ddim'], atol=1e-5)


@pytest.mark.parametrize('solver, options, name', STOCHASTIC)
def test_draws_have_the_distribution_of_the_data(solver, options, name):
  """The upper row of pixels is Gaussian, the lower has two modes."""
  schedule = SCHEDULES[name]
  times = karras(schedule, 300)
  keys, x = start_of(schedule, times[0], 100, (2, 50, 1))
  def denoise(x, t):
    upper, lower = jnp.split(x, 2, axis=1)
    modes = MODES.denoiser(schedule)(lower.reshape(-1, 1, 1, 1), t)  # each pixel alone
    return jnp.concatenate(
        [DATA.denoiser(schedule)(upper, t), modes.reshape(lower.shape)], axis=1)
  got = jax.jit(lambda x: sample(
      denoise, solvers.SOLVERS[solver](schedule, **options), x, times, keys))(x)
  upper, lower = jnp.split(got, 2, axis=1)  # 5,000 numbers each
  np.testing.assert_allclose([upper.mean(), upper.std()], DATA, atol=0.03)
  np.testing.assert_allclose((lower > 0).mean(), 0.7, atol=0.03)
  np.testing.assert_allclose(jnp.abs(lower).mean(), 1.0, atol=0.02)


def test_lcm_draws_from_a_consistency_function():
  schedule, times = schedules.flow, jnp.linspace(1, 0, 5)
  keys, x = start_of(schedule, times[0], 4000)
  got = sample(lambda x, t: DATA.flow(schedule, x, t, 0.0),
               solvers.SOLVERS['lcm'](schedule), x, times, keys)
  np.testing.assert_allclose([got.mean(), got.std()], [DATA.mean, DATA.std], atol=0.015)


@pytest.mark.parametrize('name, options, said', [
    ('ddpm', {'variance': 'small'}, "variance is 'small'; ddpm takes 'large'"),
    ('unipc', {'order': 4}, 'order is 4; unipc takes 1, 2 or 3'),
    ('lms', {'order': 5}, '^order is 5; it must be 1, 2, 3 or 4'),
    ('ddim', {'eta': -1.0}, 'eta is -1.0; it must not be negative'),
    ('dpmpp_2m_sde', {'eta': -1.0}, 'eta is -1.0'),
    ('edm', {'churn': -1.0}, 'churn is -1.0'),
    ('adaptive', {'rtol': 0.0}, 'rtol is 0.0'), ('adaptive', {'most': 3}, 'most is 3')])
def test_what_is_no_solver_is_refused(name, options, said):
  with pytest.raises(ValueError, match=said):
    solvers.SOLVERS[name](schedules.flow, **options)


def test_a_film_ends_with_the_picture():
  keys = jax.random.split(jax.random.key(0), 2)
  x = sampling.initial_noise(keys, SHAPE)
  got, way = sample(
      DATA.denoiser(schedules.flow), solvers.SOLVERS['ddim'](schedules.flow), x,
      jnp.linspace(1, 0, 6), keys, film=True)
  assert way.shape == (5, *got.shape)
  np.testing.assert_array_equal(way[-1], got)


def adapted(schedule, start, end, x, tolerance, **options):
  return jax.jit(lambda x, tolerance: solvers.dpm_solver_23(
      DATA.denoiser(schedule), schedule, x, start, end, rtol=tolerance, atol=tolerance,
      **options))(x, tolerance)


@pytest.mark.parametrize('name', ['linear', 'edm'])
def test_adaptive_comes_as_close_as_it_is_asked(name):
  schedule, (start, end) = SCHEDULES[name], (0.9, 1e-3)
  _, x = start_of(schedule, jnp.float32(start), 4)
  expected = DATA.denoiser(schedule)(
      DATA.flow(schedule, x, start, end), jnp.float32(end))
  errors, counts = [], []
  for tolerance in (3e-2, 1e-3):
    got, count = adapted(schedule, start, end, x, tolerance)
    errors.append(jnp.abs(got - expected).max())
    counts.append(count.max())
    assert errors[-1] < 3 * tolerance
  assert errors[1] < errors[0] / 5 and counts[0] < counts[1] < 200


def test_adaptive_pictures_do_not_depend_on_each_other():
  schedule = schedules.flow
  x = sampling.initial_noise(jax.random.split(jax.random.key(0), 6), SHAPE)
  x = x * jnp.array([0.1, 1, 10, 0.1, 1, 10]).reshape(6, 1, 1, 1)
  got, count = adapted(schedule, 0.99, 0.01, x, 1e-3)
  assert len(set(np.asarray(count).tolist())) > 1
  alone, count_alone = adapted(schedule, 0.99, 0.01, x[2:4], 1e-3)
  np.testing.assert_array_equal(count[2:4], count_alone)
  np.testing.assert_allclose(got[2:4], alone, atol=1e-6)


def test_adaptive_stops_at_its_cap():
  schedule = schedules.flow
  x = sampling.initial_noise(jax.random.split(jax.random.key(0), 2), SHAPE)
  got, count = adapted(schedule, 0.99, 0.01, x, 1e-6, most=30)
  assert (count > 26).all() and (count <= 30).all() and jnp.isfinite(got).all()


def test_adaptive_takes_no_film_and_no_state():
  solver, times = solvers.SOLVERS['adaptive'](schedules.flow), jnp.linspace(1, 0, 6)
  keys, x = start_of(schedules.flow, jnp.float32(1), 2)
  denoise = DATA.denoiser(schedules.flow)
  got = sample(denoise, solver, x, times, keys)
  expected, _ = adapted(schedules.flow, 0.999, times[-2], x, 0.05)
  np.testing.assert_allclose(got, expected, atol=0.05)
  remembers = guidance.Guided(jnp.zeros_like, lambda x, t, state: (x, state))
  for guided, film in ((guidance.unguided(denoise), True), (remembers, False)):
    with pytest.raises(ValueError, match='no film and no rule that remembers'):
      sampling.sample(guided, solver, x, times, keys, film)


VARIED = [*((name, {}) for name in solvers.SOLVERS), ('ddim', {'eta': 0.5}),
          ('ddpm', {'variance': 'large'}), ('ddpm', {'variance': 'learned'}),
          ('euler_ancestral', {'eta': 0.0}), ('edm', {'churn': 0.0}),
          ('dpmpp_2s', {'eta': 1.0}), ('dpmpp_2m_sde', {'eta': 0.0}),
          ('dpmpp_3m', {'eta': 1.0}), ('deis', {'order': 1}), ('lms', {'order': 2})]


@pytest.mark.parametrize('name, options', VARIED)
def test_a_solver_is_what_it_says(name, options):
  """Stochastic: other keys, another picture. Remembers: it has a state. And whether it
  takes a variance beyond x0 it shows by what it does with one."""
  schedule = schedules.flow
  solver = solvers.SOLVERS[name](schedule, **options)
  keys, x = start_of(schedule, jnp.float32(1), 2)
  assert solver.remembers == bool(jax.tree.leaves(solver.init(x)))
  assert (solver.step is None) == (solver.solve is not None)
  def draw(frac, keys):
    def denoise(x, t):
      x0 = DATA.denoiser(schedule)(x, t)
      return jnp.concatenate([x0, jnp.full_like(x0, frac)], -1) if (
          solver.learned_variance) else x0
    return sample(denoise, solver, x, jnp.linspace(1, 0, 6), keys)
  draw = jax.jit(draw)
  got, other = draw(0.5, keys), draw(0.5, keys[::-1])
  assert got.shape == x.shape and np.isfinite(got).all()
  assert np.array_equal(got, other) == (not solver.stochastic)
  assert np.array_equal(got, draw(0.9, keys)) == (not solver.learned_variance)
  if solver.frac is not None and not solver.learned_variance:
    # Its variance is the learned one of that frac.
    learned = solvers.SOLVERS['ddpm'](schedule, variance='learned')
    t, s, x0 = jnp.float32(0.6), jnp.float32(0.4), 0.3 * x
    beyond = jnp.concatenate([x0, jnp.full_like(x0, solver.frac)], -1)
    np.testing.assert_allclose(
        solver.step(None, x, x0, (), t, s, keys)[0],
        learned.step(None, x, beyond, (), t, s, keys)[0], atol=1e-5)


@pytest.mark.parametrize('name', STEPPED)
def test_a_solver_of_one_evaluation_asks_for_no_other(name):
  """The loop hands it x0; only those that need more than one call `denoise`."""
  solver = solvers.SOLVERS[name](schedules.flow)
  keys, x = start_of(schedules.flow, jnp.float32(0.8), 2)
  calls = []
  def denoise(x, t):
    calls.append(t)
    return x
  solver.step(denoise, x, 0.3 * x, solver.init(x), jnp.float32(0.8), jnp.float32(0.6),
              keys)
  assert bool(calls) == (name in ('heun', 'edm', 'dpmpp_2s', 'dpm2', 'plms'))
