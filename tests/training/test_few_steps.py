"""Objectives of few steps: the truth of Gaussian data is where each of them rests."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import guidance, process, sampling, schedules, solvers
from helpers.objectives import EVEN, Fake, batch_of, objective_of, terms_of, x0_of
from training.objectives.ect import earlier
from training.objectives.ict import SIGMAS, count_at, levels

STD = 0.3  # of Gaussian data
over = process.append_dims


def known(params, x, scalars, context):
  """The network where all pictures are one: any way from anywhere leads there."""
  return x0_of(batch_of(same=True)) + params['off'], None


CIRCLE = dict(schedule='cosine', target='v')


def known_circle(params, x, scalars, context):
  """The same, said as v of schedule cosine."""
  alpha, sigma = schedules.cosine(scalars.t)
  x0, _ = known(params, x, scalars, context)
  return process.convert(process.x0, process.v, x0, x, alpha, sigma), None


@pytest.mark.parametrize('spec, how', [
    ('meanflow(share=0.5)', {}), ('meanflow(power=0.0,guidance=2.0,mix=0.5)', {}),
    ('shortcut(steps=8,share=0.5)', {}), ('ict(start=4,end=16)', {}),
    ('ect(huber=0.1)', {}),
    ('progressive_distillation(steps=4)', {}), ('reflow(steps=3)', {}),
    ('consistency_distillation(steps=4)', {}),
    ('ect(huber=0.1)', dict(schedule='edm', time_sampling='log_normal')),
    ('ict(start=2)', dict(schedule='edm', time_sampling='log_normal')),
    ('progressive_distillation(steps=4)', dict(schedule='cosine')),
    ('scm', CIRCLE)])
def test_nothing_is_to_learn_where_all_pictures_are_one(spec, how):
  batch = batch_of(same=True)
  network = known_circle if how is CIRCLE else known
  objective = objective_of(network, spec, **how)
  off = {'off': jnp.zeros(3)}
  params = off | {name: off for name in objective.parts}
  terms, grads, _ = terms_of(objective, params, batch, progress=0.0)
  off = {'off': jnp.full(3, 0.5)}  # leads to other pictures
  wrong, down, _ = terms_of(objective, params | off, batch, progress=0.0)
  assert sum(terms.values()) < 1e-3 * max(1.0, sum(wrong.values()))
  assert jnp.abs(grads['off']).max() < 0.02 * jnp.abs(down['off']).max()


def marginal_std(t):
  """Of x_t on straight paths, for data of STD."""
  return jnp.sqrt(jnp.square((1 - t) * STD) + jnp.square(t))


def gaussian(params, x, scalars, context):
  """The exact x0 that the mean velocity from t to s leads to, times a gain.

  The ODE of Gaussian data is linear: x_s = x_t std(s) / std(t). At s = t the velocity
  is the slope of that.
  """
  t, s = (over(time, x) for time in (scalars.t, scalars.s))
  slope = (t - (1 - t) * STD**2) / marginal_std(t) ** 2
  apart = t - s > 1e-6
  u = jnp.where(apart, (1 - marginal_std(s) / marginal_std(t))
                / jnp.where(apart, t - s, 1.0), slope) * x
  return x - t * params['gain'] * u, None


def circle(params, x, scalars, context):
  """The exact consistency function of Gaussian data, said as v of schedule cosine."""
  alpha, sigma = schedules.cosine(over(scalars.t, x))
  x0 = x * STD / jnp.sqrt(jnp.square(alpha * STD) + jnp.square(sigma))
  return (alpha * x - x0) / sigma * params['gain'], None


@pytest.mark.parametrize('spec, network, how', [
    ('meanflow(share=0.5,power=0.0)', gaussian, {}),
    ('meanflow(share=1.0,power=0.0)', gaussian, dict(time_sampling='logit_normal')),
    ('shortcut(steps=16,share=0.5)', gaussian, {}),
    ('scm(offset=1e9)', circle, CIRCLE)])
def test_the_gradient_rests_at_the_truth_of_gaussian_data(spec, network, how):
  """Its mean over pictures of one number is 0 within 5 of its standard errors, and far
  from it where the network says a fifth too much."""
  seed = np.random.SeedSequence().entropy % 2**31
  print('seed', seed)
  n = 40_000
  pictures = np.random.default_rng(seed).normal(0, STD, (n, 1, 1, 3))
  objective = objective_of(network, spec, **how)
  batch = {'image': np.float32(pictures * 127.5 + 127.5), 'sizes': np.zeros((n, 6)),
           'tokens': np.full((n, 2), 3)}
  drawn = objective.draw(jax.random.key(seed), batch['image'].shape, EVEN, 1.0)
  def each(gain):
    params = {'gain': gain}
    return sum(objective.loss(params, params, batch, drawn)[0].values())
  def deviation(gain):
    _, slopes = jax.jit(lambda g: jax.jvp(each, (g,), (jnp.ones(()),)))(
        jnp.float32(gain))
    slopes = np.float64(slopes)
    return slopes.mean() / (slopes.std() / np.sqrt(n))
  assert abs(deviation(1.0)) < 5
  assert abs(deviation(1.2)) > 20


def test_the_slope_along_the_path_is_that_of_central_differences():
  """meanflow's error of a curved network, by differences in float64."""
  def network(params, x, scalars, context):
    t, s = (over(time, x) for time in (scalars.t, scalars.s))
    return jnp.tanh(x * (1 + t)) * jnp.cos(s) + params['gain'] * t**2, None
  objective = objective_of(network, 'meanflow(share=1.0,power=0.0)')
  params, batch = {'gain': jnp.float32(0.3)}, batch_of()
  drawn = objective.draw(jax.random.key(2), batch['image'].shape, EVEN, 0.0)
  term = objective.loss(params, params, batch, drawn)[0]['meanflow']
  t, s, eps = (np.float64(drawn[name]) for name in ('t', 's', 'eps'))
  t, s, x0 = t[:, None, None, None], s[:, None, None, None], np.float64(x0_of(batch))
  assert (s < t).all()
  def u(x, t):
    x0 = np.tanh(x * (1 + t)) * np.cos(s) + 0.3 * t**2
    return (x - x0) / t
  x_t, v, h = (1 - t) * x0 + t * eps, eps - x0, 1e-5
  slope = (u(x_t + h * v, t + h) - u(x_t - h * v, t - h)) / (2 * h)
  error = np.square(u(x_t, t) - v + (t - s) * slope).sum((1, 2, 3))
  np.testing.assert_allclose(term, error, rtol=2e-3)


def test_meanflow_between_equal_times_is_the_loss_of_the_flow():
  def network(params, x, scalars, context):
    return jnp.tanh(x) * over(scalars.t, x) + params['gain'], None
  params, batch = {'gain': jnp.float32(0.3)}, batch_of()
  mean, grads, _ = terms_of(objective_of(network, 'meanflow(share=0.0,power=0.0)'),
                            params, batch)
  flow, wanted, _ = terms_of(objective_of(network, 'denoising', loss_weight='flow'),
                             params, batch)
  n = batch['image'][0].size
  np.testing.assert_allclose(mean['meanflow'], n * flow['mse'], rtol=1e-5)
  np.testing.assert_allclose(grads['gain'], n * wanted['gain'], rtol=1e-5)


def test_levels_come_closer_as_training_goes_on():
  progress = jnp.linspace(0, 1, 9)
  counts = count_at(progress, 10, 1280)  # seven doublings, each an eighth of a run
  np.testing.assert_array_equal(counts, [min(10 * 2**i, 1280) + 1 for i in range(9)])
  np.testing.assert_allclose(levels(11, jnp.array([0, 10])), SIGMAS, rtol=1e-5)
  sigma = np.array([0.1, 1.0, 50.0])
  n = 1 + 8 / (1 + np.exp(sigma))
  np.testing.assert_allclose(earlier(jnp.float32(sigma), 5, 2.0, 8.0, 1.0),
                             sigma * (1 - n / 32), rtol=1e-5)
  assert not earlier(jnp.float32(sigma), 1, 2.0, 8.0, 1.0)[:2].any()


def test_one_step_and_many_of_a_flow_map_are_the_path_itself():
  """Maps compose: any timesteps take Gaussian data to x_T std(0) / std(1)."""
  class Told:
    t = s = None
  x_T = jax.random.normal(jax.random.key(0), (5, 2, 2, 3))
  keys = jax.random.split(jax.random.key(1), 5)
  def toward(s):
    def denoise(x, t):
      told = Told()
      told.t, told.s = jnp.full(len(x), t), jnp.full(len(x), s)
      return gaussian({'gain': 1.0}, x, told, None)[0]
    return guidance.unguided(denoise)
  for times in ([1, 0], [1, 0.5, 0], [1, 0.9, 0.25, 0.1, 0]):
    x = sampling.sample(toward, solvers.SOLVERS['flow_map'](schedules.flow), x_T,
                        jnp.float32(times), keys)
    np.testing.assert_allclose(x, x_T * STD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('spec, how, message', [
    ('meanflow', dict(schedule='cosine'), 'straight.*flow'),
    ('shortcut(steps=12)', {}, 'power of two'),
    ('scm', {}, "schedule='cosine' and target='v'"),
    ('ict(start=8,end=4)', {}, 'end is 4; .* start=8 or more'),
    ('ect(q=1.0)', {}, 'q is 1.0'), ('meanflow(mix=1.0)', {}, 'mix is 1.0'),
    ('progressive_distillation(steps=0)', {}, 'steps is 0'),
    ('consistency_distillation(low=3.0,high=2.0)', {}, 'in order')])
def test_what_makes_no_sense_is_refused(spec, how, message):
  with pytest.raises(ValueError, match=f'config.train.objective is .*{message}'):
    objective_of(known, spec, **how)


@pytest.mark.parametrize('spec', ['meanflow', 'shortcut', 'consistency_distillation'])
def test_a_network_that_is_not_told_is_refused(spec, monkeypatch):
  monkeypatch.setattr(Fake, 'scalars', ())
  with pytest.raises(ValueError, match='config.model.scalars='):
    objective_of(known, spec)
