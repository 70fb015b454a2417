"""Guidance: each rule by what it must do to two known predictions."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import guidance, process, sampling, schedule, solvers

X = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
GOOD = 0.5 * jax.random.normal(jax.random.key(1), X.shape)
BAD = 0.5 * jax.random.normal(jax.random.key(2), X.shape)
T = jnp.float32(0.6)


def denoise(x, t, context):
  return process.over(t, x) * x + context[:, None, None, None]


def combine(rule, scale, memory=None, x=X, t=T):
  memory = rule.init(x) if memory is None else memory
  return rule.combine(x, t, GOOD, BAD, scale, memory)


@pytest.mark.parametrize('scale', [0.0, 1.0, 3.0])
def test_cfg_is_a_line_through_both(scale):
  got, _ = combine(guidance.cfg(), scale)
  np.testing.assert_allclose(got, BAD + scale * (GOOD - BAD), atol=1e-6)


RULES = {'cfg': guidance.cfg(), 'apg': guidance.apg(),
         'zero_star': guidance.zero_star(schedule.flow)}


@pytest.mark.parametrize('name', list(guidance.RULES))
def test_scale_one_follows_the_prompt_alone(name):
  np.testing.assert_allclose(combine(RULES[name], 1.0)[0], GOOD, atol=1e-5)


def test_apg_without_its_parts_is_cfg():
  got, _ = combine(guidance.apg(eta=1.0), 4.0)
  np.testing.assert_allclose(got, combine(guidance.cfg(), 4.0)[0], atol=1e-5)


def test_apg_adds_nothing_along_the_prediction():
  change = combine(guidance.apg(), 4.0)[0] - GOOD
  along = jnp.einsum('bhwc,bhwc->b', change, GOOD)
  np.testing.assert_allclose(along, 0, atol=1e-3)


def test_apg_bounds_and_remembers():
  got, memory = combine(guidance.apg(eta=1.0, bound=0.5), 2.0)
  norm = jnp.sqrt(jnp.square(got - GOOD).sum((1, 2, 3)))
  np.testing.assert_allclose(norm, 0.5, rtol=1e-4)
  rule = guidance.apg(eta=1.0, momentum=-0.5)
  _, memory = combine(rule, 2.0)
  got, _ = combine(rule, 2.0, memory)
  np.testing.assert_allclose(got - GOOD, 0.5 * (GOOD - BAD), atol=1e-5)


def test_zero_star_is_the_best_fit_of_velocities():
  """arXiv:2503.18886 eq. 9, with flow's velocities v = (x - x0) / t."""
  v_good, v_bad = np.asarray((X - GOOD) / T), np.asarray((X - BAD) / T)
  x0, _ = combine(guidance.zero_star(schedule.flow), 3.0)
  for i in range(2):
    g, b = v_good[i].ravel(), v_bad[i].ravel()
    fit = np.linalg.lstsq(b[:, None], g, rcond=None)[0] * b
    np.testing.assert_allclose(
        ((X - x0) / T)[i].ravel(), fit + 3 * (g - fit), atol=1e-4)
  x0, _ = combine(guidance.zero_star(schedule.flow, zero_above=0.5), 3.0)
  np.testing.assert_allclose(x0, X)  # no velocity


@pytest.mark.parametrize('kind', ['eps', 'v', 'flow'])
def test_rescaling_gives_the_prediction_its_spread_back(kind):
  row = process.ROWS[kind]
  rule = guidance.rescaled(guidance.cfg(), schedule.cosine, row, 1.0)
  def spread(x0):
    return process.convert(
        process.ROWS['x0'], row, x0, X, *schedule.cosine(T)).std((1, 2, 3))
  np.testing.assert_allclose(spread(combine(rule, 5.0)[0]), spread(GOOD), rtol=1e-4)
  nothing = guidance.rescaled(guidance.cfg(), schedule.cosine, row, 0.0)
  np.testing.assert_allclose(
      combine(nothing, 5.0)[0], combine(guidance.cfg(), 5.0)[0], atol=1e-4)


def test_several_prompts_add_up_their_differences():
  contexts = [jnp.array([1.0, 2.0]), jnp.array([3.0, -1.0])]
  null, weights = jnp.array([0.5, 0.0]), jnp.array([[1.0, 2.0], [0.5, 0.0]])
  pair, alone = guidance.prompts(denoise, contexts, weights, null)
  good, bad = pair(X, T)
  np.testing.assert_allclose(bad, denoise(X, T, null), atol=1e-6)
  added = sum(weights[:, i] * (contexts[i] - null) for i in range(2))
  np.testing.assert_allclose(good, bad + added[:, None, None, None], atol=1e-5)
  np.testing.assert_allclose(alone(X, T), good, atol=1e-6)


def test_autoguidance_leads_away_from_the_weaker_network():
  strong, weak = (lambda x, t: 0.5 * x), (lambda x, t: 0.3 * x)
  given = guidance.guided(*guidance.networks(strong, weak), guidance.cfg(), 2.0)
  np.testing.assert_allclose(given.denoise(X, T, ())[0], 0.7 * X, atol=1e-6)


@pytest.mark.parametrize('interval', [(0.0, 1.0), (0.5, 0.7), (0.1, 0.2)])
def test_a_variance_is_neither_guided_nor_clipped(interval):
  """It is that of the prompt, wherever x0 comes from."""
  good = jnp.concatenate([9 * GOOD, 7 * X], -1)
  pair, alone = lambda x, t: (good, BAD), lambda x, t: good
  given = guidance.guided(pair, alone, guidance.apg(), 3.0, interval=interval)
  given = guidance.clipped(given, guidance.static())
  x0, beyond = process.parts(given.denoise(X, T, given.memory(X))[0], X)
  np.testing.assert_array_equal(beyond, 7 * X)
  inside = interval[0] < T <= interval[1]
  expected = combine_far(3.0) if inside else 9 * GOOD
  np.testing.assert_allclose(x0, jnp.clip(expected, -1, 1), atol=1e-5)


def combine_far(scale):
  rule = guidance.apg()
  return rule.combine(X, T, 9 * GOOD, BAD, scale, rule.init(X))[0]


@pytest.mark.parametrize('t', [0.1, 0.5, 0.9, [0.1, 0.5]])
def test_outside_its_interval_there_is_one_evaluation(t):
  """Counted as the program runs: the second one is left out, not masked."""
  seen = []
  def counted(x, t, context):
    jax.debug.callback(lambda b: seen.append(int(b)), len(x))
    return denoise(x, t, context)
  t = jnp.asarray(t, jnp.float32)
  context, null = jnp.array([1.0, 2.0]), jnp.zeros(2)
  pair, alone = guidance.prompts(counted, [context], jnp.ones((2, 1)), null)
  given = guidance.guided(pair, alone, guidance.cfg(), 3.0, interval=(0.2, 0.7))
  got, _ = jax.jit(given.denoise)(X, t, ())
  jax.effects_barrier()
  inside = np.broadcast_to((0.2 < t) & (t <= 0.7), 2)
  expected = denoise(X, t, np.where(inside, 3 * context, context))
  np.testing.assert_allclose(got, expected, atol=1e-5)
  if t.ndim == 0:
    assert seen == [4 if inside[0] else 2]


def test_scales_over_time_have_their_ends():
  for name, make in guidance.OVER_TIME.items():
    at = make()
    start, end = at(1.0, 5.0), at(0.0, 5.0)
    expected = {'constant': (5, 5), 'linear': (1, 9), 'cosine': (1, 5)}[name]
    np.testing.assert_allclose((start, end), expected, atol=1e-5)
  times = jnp.linspace(0, 1, 9)
  np.testing.assert_allclose(
      guidance.cosine(2.0)(times, 5.0),
      1 + 4 * (1 - np.cos(np.pi * (1 - times) ** 2)) / 2, atol=1e-5)


def test_clips():
  np.testing.assert_allclose(guidance.static(0.5)(3 * X), np.clip(3 * X, -0.5, 0.5))
  small = jnp.tanh(X)
  np.testing.assert_allclose(guidance.dynamic()(small), small, atol=1e-6)
  got = guidance.dynamic(percentile=0.9)(3 * X)
  for before, after in zip(np.asarray(3 * X), np.asarray(got)):
    size = np.quantile(np.abs(before), 0.9)
    np.testing.assert_allclose(after, np.clip(before, -size, size) / size, atol=1e-5)


@pytest.mark.parametrize('solver', ['ddim', 'heun', 'dpmpp_2m'])
def test_memory_passes_from_step_to_step(solver):
  """A rule that adds up what it saw, in the scan and in a loop by hand."""
  def combine(x, t, good, bad, scale, memory):
    return good + 0.01 * memory, memory + bad
  rule = guidance.Rule(jnp.zeros_like, combine)
  alone = lambda x, t: 0.4 * x
  given = guidance.guided(lambda x, t: (0.4 * x, 0.2 * x), alone, rule, 2.0)
  method = solvers.SOLVERS[solver](schedule.flow)
  keys = jax.random.split(jax.random.key(0), 2)
  times = jnp.linspace(1, 0, 5)
  got = sampling.sample(given.denoise, method, X, times, keys, memory=given.memory(X))
  x, state, memory = X, method.init(X), jnp.zeros_like(X)
  for t, s in zip(times[:-1], times[1:]):
    now, moved = memory, memory + 0.2 * x
    x, state = method.step(lambda x, t: 0.4 * x + 0.01 * now, x, state, t, s, keys)
    memory = moved
  np.testing.assert_allclose(got, x, atol=1e-5)
