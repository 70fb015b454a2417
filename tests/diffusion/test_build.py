"""From config.diffusion and config.sample to the maths, and what is refused by key."""
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import diffusion
from diffusion import losses, process, schedules, solvers, time_sampling, timesteps, vlb

X0 = jax.random.uniform(jax.random.key(0), (4, 4, 4, 3), minval=-1)
EPS = jax.random.normal(jax.random.key(1), X0.shape)
T = jnp.linspace(0.2, 0.8, 4)
LOG_SNR = jnp.linspace(-9, 9, 19)


def config(**changes):
  return types.SimpleNamespace(**dict(
      schedule='flow', target='flow', input_std=0.0, loss_weight='flow',
      loss_weight_cap=400.0, loss_over='draw', vlb=0.0, time_sampling='logit_normal',
      stratified=True) | changes)


class Sample(dict):
  """config.sample: keys as items and as attributes."""
  __getattr__ = dict.__getitem__


def sample_config(**changes):
  return Sample(dict(
      solver='dpmpp_2m', steps=8, timesteps='linear', guidance=3.0, rule='cfg',
      over_time='constant', interval=(0.0, 1.0), rescale=0.0, clip='none',
      prior='marginal') | changes)


def test_a_process_is_what_its_config_says():
  made = diffusion.build(config(schedule='linear(steps=50)', target='v'))
  assert made.num_steps == 50 and made.t_max == 1 and made.target is process.v
  own = schedules.SCHEDULES['linear'](steps=50)
  for got, expected in zip(made.schedule(T), own(T)):
    np.testing.assert_array_equal(got, expected)
  predict = lambda x, t: x
  assert made.precondition(predict) is predict
  assert diffusion.build(config(schedule='cosine', target='eps')).t_max == 0.996
  made = diffusion.build(config(schedule='edm', target='edm', input_std=0.5))
  np.testing.assert_allclose(
      made.precondition(predict)(X0, T),
      X0 / process.append_dims(jnp.hypot(80 * T, 0.5), X0), rtol=1e-5)
  assert made.num_steps == 0


def test_weights_are_capped_but_for_the_targets_own():
  made = diffusion.build(config())
  own = diffusion.build_loss_weight(config(), made)(LOG_SNR)
  np.testing.assert_allclose(own, (1 + np.exp(LOG_SNR / 2)) ** 2, rtol=1e-4)
  capped = diffusion.build_loss_weight(config(loss_weight='eps'), made)(LOG_SNR)
  np.testing.assert_allclose(capped, np.minimum(np.exp(LOG_SNR), 400), rtol=1e-4)
  c = config(target='edm(data_std=0.7)', loss_weight='edm(data_std=0.7)')
  own = diffusion.build_loss_weight(c, diffusion.build(c))(LOG_SNR)
  np.testing.assert_allclose(own, np.exp(LOG_SNR) + 1 / 0.49, rtol=1e-4)


@pytest.mark.parametrize('spec, over', [
    ('uniform', 'time'), ('log_normal(mean=0.1)', 'log_snr'), ('adaptive', 'draw')])
def test_times_are_drawn_as_the_config_says(spec, over):
  c = config(schedule='linear(steps=50)', time_sampling=spec, loss_over=over)
  made = diffusion.build(c)
  ema = jnp.linspace(1, 5, time_sampling.BINS)
  t, importance = jax.jit(lambda key, ema: diffusion.build_time_sampling(c, made)(
      key, 64, ema))(jax.random.key(0), ema)
  rows = {'uniform': time_sampling.uniform(), 'adaptive': time_sampling.adaptive(ema),
          'log_normal(mean=0.1)': time_sampling.log_normal(made.schedule, 0.1)}
  measures = {'time': lambda t: t, 'draw': None,
              'log_snr': lambda t: schedules.log_snr(made.schedule, t)}
  expected = time_sampling.draw(rows[spec], jax.random.key(0), 64, num_steps=50,
                                measure=measures[over])
  np.testing.assert_allclose(t, expected[0], atol=1e-6)
  np.testing.assert_allclose(importance, expected[1], rtol=1e-3)


def test_the_bound_is_weighted_over_all_steps():
  c = config(schedule='linear(steps=50)', target='eps', vlb=0.001)
  made = diffusion.build(c)
  args = jnp.arange(5, 25, 5) / 50, X0, 0.9 * X0, jnp.full_like(X0, 0.4)
  np.testing.assert_allclose(diffusion.build_vlb(c, made)(*args),
                             0.05 * vlb.step_kl(made.schedule, 50, *args), rtol=1e-6)
  assert diffusion.build_vlb(config(), made) is None


def test_sampling_is_what_its_config_says():
  made = diffusion.build(config())
  sampling = diffusion.build_sampling(
      sample_config(solver="ddpm(variance='learned')", timesteps='shifted(shift=2)',
                    rule='apg(momentum=-0.5)', interval=(0.2, 0.7), clip='static'),
      made)
  assert sampling.learned_variance and sampling.solver.stochastic
  np.testing.assert_allclose(
      sampling.timesteps, timesteps.complete(timesteps.shifted(8, 1.0, shift=2)))
  given = sampling.guide(lambda x, t: (2 * X0, -X0), lambda x, t: 3 * X0, 4.0)
  assert not given.stateless
  out, _ = given.denoise(X0, jnp.float32(0.9), given.init(X0))  # outside the interval
  np.testing.assert_allclose(out, jnp.clip(3 * X0, -1, 1))
  alone = diffusion.build_sampling(sample_config(guidance=1.0), made).guide(
      None, lambda x, t: 3 * X0, 1.0)
  assert alone.stateless
  np.testing.assert_allclose(alone.denoise(X0, 0.5, ())[0], 3 * X0)


def test_the_spread_is_taken_back_in_the_space_of_the_target():
  made = diffusion.build(config())
  guide = diffusion.build_sampling(sample_config(rescale=1.0), made).guide
  given = guide(lambda x, t: (0.5 * X0, -X0), None, 4.0)
  t = jnp.float32(0.5)
  x0, _ = given.denoise(EPS, t, ())
  spread = lambda x0: ((EPS - x0) / t).std((1, 2, 3))  # of velocities
  np.testing.assert_allclose(spread(x0), spread(0.5 * X0), rtol=1e-4)


REFUSED = [  # the builder, changes, what is said
    (diffusion.build, dict(schedule='flo'), "diffusion.schedule is 'flo', not one"),
    (diffusion.build, dict(schedule='flow(steps=9)'), 'steps is 9'),
    (diffusion.build, dict(schedule='linear(shift=0.0)'), 'shift is 0.0'),
    (diffusion.build, dict(target='edm(data_std=0)'), 'data_std is 0; it must be'),
    (diffusion.build, dict(schedule='linear(zero_snr=True)', target='eps'),
     "config.diffusion.target is 'eps', but noise says nothing"),
    (diffusion.build_loss_weight, dict(loss_weight='p2(gama=1)'), "no option 'gama'"),
    (diffusion.build_loss_weight, dict(loss_weight='min_snr(gamma=-1)'), 'gamma is -1'),
    (diffusion.build_time_sampling, dict(loss_over='x'),
     "config.diffusion.loss_over is 'x', not one of ['draw', 'log_snr', 'time']"),
    (diffusion.build_time_sampling, dict(time_sampling='mode(scale=3)'),
     'mode takes -1 to 1.75'),
    (diffusion.build_time_sampling, dict(time_sampling='logit_normal(std=1e999)'),
     'std is inf; it must be finite'),
    (diffusion.build_vlb, dict(vlb=0.001), "config.diffusion.vlb is 0.001, of the")]


@pytest.mark.parametrize('build, changes, said', REFUSED)
def test_a_process_that_makes_no_sense_is_refused_by_key(build, changes, said):
  with pytest.raises(ValueError) as e:
    if build is diffusion.build:
      build(config(**changes))
    else:
      build(config(**changes), diffusion.build(config()))
  assert said in str(e.value) and 'config.diffusion.' in str(e.value)


REFUSED_SAMPLING = [
    (dict(solver='x'), "config.sample.solver is 'x', not one of"),
    (dict(solver='ddim(eta=-1)'), 'eta is -1; it must not be negative'),
    (dict(timesteps='x'), "config.sample.timesteps is 'x', not one of"),
    (dict(timesteps='trailing', steps=2000), 'with 2000 steps and these options'),
    (dict(timesteps='custom(times=(0.5,))'), 'times needs two times or more'),
    (dict(timesteps='karras(rho=0)'), 'rho is 0'),
    (dict(rule='x'), "config.sample.rule is 'x', not one of"),
    (dict(rule='apg(momentum=1e999)'), 'momentum is inf'),
    (dict(over_time='x'), "config.sample.over_time is 'x'"),
    (dict(clip='dynamic(percentile=2)'), 'percentile is 2'),
    (dict(clip='static(bound=0)'), 'bound is 0'),
    (dict(steps=0), 'config.sample.steps is 0'),
    (dict(guidance=float('nan')), 'config.sample.guidance is nan'),
    (dict(rescale=2.0), 'config.sample.rescale is 2.0'),
    *((dict(interval=interval), f'config.sample.interval is {interval}')
      for interval in [(0.5, 0.5), (0.7, 0.2), (-0.1, 0.5), (0.0, 2.0), (0.5,),
                       (0.1, float('nan'))]),
    (dict(solver='adaptive', rule='apg(momentum=0.1)'), 'no rule that remembers')]


@pytest.mark.parametrize('changes, said', REFUSED_SAMPLING)
def test_sampling_that_makes_no_sense_is_refused_by_key(changes, said):
  with pytest.raises(ValueError) as e:
    diffusion.build_sampling(sample_config(**changes), diffusion.build(config()))
  assert said in str(e.value) and 'config.sample.' in str(e.value)


def test_choices_are_checked_without_being_built():
  diffusion.check_sampling(sample_config(rule='zero_star', timesteps='karras'))
  with pytest.raises(ValueError, match='config.sample.timesteps'):
    diffusion.check_sampling(sample_config(timesteps='x'))


def test_a_rule_is_given_the_schedule_where_it_needs_it():
  made = diffusion.build(config())
  for rule in ('zero_star', 'zero_star(zero_above=0.9)', 'cfg', 'apg'):
    for solver in ('adaptive', 'ddim'):
      diffusion.build_sampling(sample_config(rule=rule, solver=solver), made)


@pytest.mark.parametrize('fill, solver, said', [
    ('x', 'ddim', "'x', not one of ['blend', 'network', 'repaint']"),
    ('repaint(jump=0)', 'ddim', 'jump is 0'),
    ('repaint', 'dpmpp_2m', 'without memory')])
def test_a_fill_refuses_solvers_it_cannot_use(fill, solver, said):
  with pytest.raises(ValueError) as e:
    diffusion.build_fill(fill, solvers.SOLVERS[solver](schedules.flow))
  assert said in str(e.value)


def test_rows_may_come_from_outside(monkeypatch):
  """A row of a table is all that a new choice takes."""
  halves = lambda alpha, sigma: (0.5, 0.5)
  monkeypatch.setitem(process.TARGETS, 'toy', lambda: halves)
  monkeypatch.setitem(schedules.SCHEDULES, 'toy',
                      lambda power=1.0: lambda t: (1 - t**power, jnp.asarray(t)))
  monkeypatch.setitem(timesteps.TIMESTEPS, 'toy',
                      lambda steps: np.linspace(1, 0.1, steps))
  c = config(schedule='toy(power=2)', target='toy', loss_weight='toy')
  made = diffusion.build(c)
  assert made.target is halves and made.schedule(0.5)[0] == 0.75
  weight = diffusion.build_loss_weight(c, made)(LOG_SNR)
  np.testing.assert_allclose(weight, losses.target_weight(halves)(LOG_SNR))
  times = diffusion.build_sampling(sample_config(timesteps='toy'), made).timesteps
  np.testing.assert_allclose(times, [*np.linspace(1, 0.1, 8), 0], rtol=1e-6)
