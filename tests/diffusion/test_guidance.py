"""Guidance: each rule by what it must do to two known predictions."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import guidance, process, sampling, schedules, solvers

X = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
COND = 0.5 * jax.random.normal(jax.random.key(1), X.shape)
UNCOND = 0.5 * jax.random.normal(jax.random.key(2), X.shape)
T = jnp.float32(0.6)


def denoise(x, t, context):
  return process.append_dims(t, x) * x + context[:, None, None, None]


def combine(rule, scale, state=None, x=X, t=T):
  state = rule.init(x) if state is None else state
  return rule.combine(x, t, COND, UNCOND, scale, state)


@pytest.mark.parametrize('scale', [0.0, 1.0, 3.0])
def test_cfg_is_a_line_through_both(scale):
  got, _ = combine(guidance.cfg(), scale)
  np.testing.assert_allclose(got, UNCOND + scale * (COND - UNCOND), atol=1e-6)


RULES = {'cfg': guidance.cfg(), 'apg': guidance.apg(),
         'zero_star': guidance.zero_star(schedules.flow)}


@pytest.mark.parametrize('name', list(guidance.RULES))
def test_scale_one_follows_the_prompt_alone(name):
  np.testing.assert_allclose(combine(RULES[name], 1.0)[0], COND, atol=1e-5)


def test_apg_without_its_parts_is_cfg():
  got, _ = combine(guidance.apg(eta=1.0), 4.0)
  np.testing.assert_allclose(got, combine(guidance.cfg(), 4.0)[0], atol=1e-5)


def test_apg_adds_nothing_along_the_prediction():
  change = combine(guidance.apg(), 4.0)[0] - COND
  along = jnp.einsum('bhwc,bhwc->b', change, COND)
  np.testing.assert_allclose(along, 0, atol=1e-3)


def test_apg_bounds_and_remembers():
  got, state = combine(guidance.apg(eta=1.0, bound=0.5), 2.0)
  assert state == ()
  norm = jnp.sqrt(jnp.square(got - COND).sum((1, 2, 3)))
  np.testing.assert_allclose(norm, 0.5, rtol=1e-4)
  rule = guidance.apg(eta=1.0, momentum=-0.5)
  _, state = combine(rule, 2.0)
  got, _ = combine(rule, 2.0, state)
  np.testing.assert_allclose(got - COND, 0.5 * (COND - UNCOND), atol=1e-5)


def test_zero_star_is_the_best_fit_of_velocities():
  """arXiv:2503.18886 eq. 9, with flow's velocities v = (x - x0) / t."""
  v_cond, v_uncond = np.asarray((X - COND) / T), np.asarray((X - UNCOND) / T)
  x0, _ = combine(guidance.zero_star(schedules.flow), 3.0)
  for i in range(2):
    g, b = v_cond[i].ravel(), v_uncond[i].ravel()
    fit = np.linalg.lstsq(b[:, None], g, rcond=None)[0] * b
    np.testing.assert_allclose(
        ((X - x0) / T)[i].ravel(), fit + 3 * (g - fit), atol=1e-4)
  x0, _ = combine(guidance.zero_star(schedules.flow, zero_above=0.5), 3.0)
  np.testing.assert_allclose(x0, X)  # no velocity


@pytest.mark.parametrize('kind', ['eps', 'v', 'flow'])
def test_rescaling_gives_the_prediction_its_spread_back(kind):
  target = process.TARGETS[kind]()
  rule = guidance.rescaled(guidance.cfg(), schedules.cosine, target, 1.0)
  def spread(x0):
    return process.convert(
        process.x0, target, x0, X, *schedules.cosine(T)).std((1, 2, 3))
  np.testing.assert_allclose(spread(combine(rule, 5.0)[0]), spread(COND), rtol=1e-4)
  nothing = guidance.rescaled(guidance.cfg(), schedules.cosine, target, 0.0)
  np.testing.assert_allclose(
      combine(nothing, 5.0)[0], combine(guidance.cfg(), 5.0)[0], atol=1e-4)


def test_several_prompts_add_up_their_differences():
  contexts = [jnp.array([1.0, 2.0]), jnp.array([3.0, -1.0])]
  null, weights = jnp.array([0.5, 0.0]), jnp.array([[1.0, 2.0], [0.5, 0.0]])
  both, cond_only = guidance.prompts(denoise, contexts, weights, null)
  cond, uncond = both(X, T)
  np.testing.assert_allclose(uncond, denoise(X, T, null), atol=1e-6)
  added = sum(weights[:, i] * (contexts[i] - null) for i in range(2))
  np.testing.assert_allclose(cond, uncond + added[:, None, None, None], atol=1e-5)
  np.testing.assert_allclose(cond_only(X, T), cond, atol=1e-6)


def test_autoguidance_leads_away_from_the_weaker_network():
  main, weak = (lambda x, t: 0.5 * x), (lambda x, t: 0.3 * x)
  given = guidance.guided(*guidance.networks(main, weak), guidance.cfg(), 2.0)
  np.testing.assert_allclose(given.denoise(X, T, ())[0], 0.7 * X, atol=1e-6)


@pytest.mark.parametrize('interval', [(0.0, 1.0), (0.5, 0.7), (0.1, 0.2)])
def test_a_variance_is_neither_guided_nor_clipped(interval):
  """It is that of the prompt, wherever x0 comes from."""
  cond = jnp.concatenate([9 * COND, 7 * X], -1)
  both, cond_only = lambda x, t: (cond, UNCOND), lambda x, t: cond
  given = guidance.guided(both, cond_only, guidance.apg(), 3.0, interval=interval)
  given = guidance.clipped(given, guidance.static())
  x0, variance = process.split_variance(given.denoise(X, T, given.init(X))[0], X)
  np.testing.assert_array_equal(variance, 7 * X)
  inside = interval[0] < T <= interval[1]
  expected = combine_far(3.0) if inside else 9 * COND
  np.testing.assert_allclose(x0, jnp.clip(expected, -1, 1), atol=1e-5)


def combine_far(scale):
  rule = guidance.apg()
  return rule.combine(X, T, 9 * COND, UNCOND, scale, rule.init(X))[0]


@pytest.mark.parametrize('t', [0.1, 0.5, 0.9, [0.1, 0.5]])
def test_outside_its_interval_there_is_one_evaluation(t):
  """Counted as the program runs: the second one is left out, not masked."""
  seen = []
  def counted(x, t, context):
    jax.debug.callback(lambda b: seen.append(int(b)), len(x))
    return denoise(x, t, context)
  t = jnp.asarray(t, jnp.float32)
  context, null = jnp.array([1.0, 2.0]), jnp.zeros(2)
  both, cond_only = guidance.prompts(counted, [context], jnp.ones((2, 1)), null)
  given = guidance.guided(both, cond_only, guidance.cfg(), 3.0, interval=(0.2, 0.7))
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


@pytest.mark.parametrize('solver', ['ddim', 'heun', 'dpmpp_2m', 'edm'])
def test_the_state_passes_from_step_to_step(solver):
  """A rule that adds up what it saw, in the scan and in a loop by hand."""
  def combine(x, t, cond, uncond, scale, state):
    return cond + 0.01 * state, state + uncond
  rule = guidance.Rule(jnp.zeros_like, combine)
  given = guidance.guided(lambda x, t: (0.4 * x, 0.2 * x), lambda x, t: 0.4 * x, rule,
                          2.0)
  assert not given.stateless
  method = solvers.SOLVERS[solver](schedules.flow)
  keys = jax.random.split(jax.random.key(0), 2)
  times = jnp.linspace(1, 0, 5)
  got = sampling.sample(given, method, X, times, keys)
  x, state, seen = X, method.init(X), jnp.zeros_like(X)
  for i, (t, s) in enumerate(zip(times[:-1], times[1:]), 1):
    fresh = jax.vmap(lambda key: jax.random.fold_in(key, i))(keys)
    if method.perturb:
      x, t = method.perturb(x, t, fresh)
    now, seen = seen, seen + 0.2 * x
    x, state = method.step(lambda x, t: 0.4 * x + 0.01 * now, x, 0.4 * x + 0.01 * now,
                           state, t, s, fresh)
  np.testing.assert_allclose(got, x, atol=1e-5)


def test_rules_agree_where_they_should():
  """zero_star is cfg where the best fit is 1: velocities whose difference is
  orthogonal to the unconditional one; and apg is, where the difference is orthogonal
  to cond, whatever its eta."""
  dot = lambda a, b: jnp.einsum('bhwc,bhwc->b', a, b)[:, None, None, None]
  x, uncond = X, UNCOND
  away = X - UNCOND
  apart = COND - dot(COND, away) / dot(away, away) * away
  cond = uncond - apart
  for scale in (0.0, 1.0, 4.0):
    args = x, T, cond, uncond, scale, ()
    expected = guidance.cfg().combine(*args)[0]
    np.testing.assert_allclose(
        RULES['zero_star'].combine(*args)[0], expected, atol=1e-4)
    far = UNCOND - dot(UNCOND, COND) / dot(COND, COND) * COND
    args = x, T, COND, COND - far, scale, ()
    np.testing.assert_allclose(
        RULES['apg'].combine(*args)[0], guidance.cfg().combine(*args)[0], atol=1e-5)


@pytest.mark.parametrize('name', list(guidance.RULES))
def test_rescaling_does_nothing_at_scale_one(name):
  rule = guidance.rescaled(RULES[name], schedules.flow, process.flow, 1.0)
  np.testing.assert_allclose(combine(rule, 1.0)[0], COND, atol=1e-4)


@pytest.mark.parametrize('rule', [
    guidance.cfg(), guidance.apg(), guidance.apg(momentum=-0.5),
    guidance.zero_star(schedules.flow)])
def test_a_rule_says_whether_it_has_a_state(rule):
  for made in (rule, guidance.rescaled(rule, schedules.flow, process.v, 0.5)):
    assert made.stateless == (not jax.tree.leaves(made.init(X)))
  given = guidance.guided(lambda x, t: (COND, UNCOND), lambda x, t: COND, rule, 2.0)
  assert given.stateless == rule.stateless
  assert guidance.clipped(given, jnp.tanh).stateless == rule.stateless


@pytest.mark.parametrize('table, name, options, said', [
    (guidance.RULES, 'apg', {'bound': -1.0}, 'bound is -1.0'),
    (guidance.OVER_TIME, 'cosine', {'power': 0.0}, 'power is 0.0'),
    (guidance.CLIPS, 'static', {'bound': 0.0}, 'bound is 0.0'),
    (guidance.CLIPS, 'dynamic', {'percentile': 0.0}, 'percentile is 0.0'),
    (guidance.CLIPS, 'dynamic', {'percentile': 1.5}, 'percentile is 1.5'),
    (guidance.CLIPS, 'dynamic', {'most': 0.5}, 'most is 0.5')])
def test_an_option_that_makes_no_sense_is_refused(table, name, options, said):
  with pytest.raises(ValueError, match=said):
    table[name](**options)
