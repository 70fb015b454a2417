"""The training step: the same on any devices, in any parts, and safe from NaN."""
import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

import drawing
from diffusion import times
from training import ema, loss as losses, mesh as meshes, optim, state as states
from training import step as steps

KEY = jax.random.key(0)
AVERAGES = [ema.exponential(0.9)]
EVEN = jnp.ones(times.BINS)
compiled = []  # names of what XLA compiled
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: 'backend_compile' in name and compiled.append(name))


@pytest.fixture(scope='module')
def parts(config, tokenizer):
  """(model, draw, loss, optimizer, rate) of the small config."""
  model = drawing.build_model(config, tokenizer.get_vocab_size())
  empty = np.array([1] + [0] * (config.tokenizer.length - 1), np.int32)
  draw, loss = losses.make(model, config.diffusion, empty)
  return model, draw, loss, *optim.make(config.optim, config.train.steps)


def batch_of(i, b=8, size=16, length=16):
  rng = np.random.default_rng(i)
  tokens = rng.integers(2, 290, (b, length)).astype(np.int32)
  tokens[:, 0], tokens[:, 9:] = 1, 0
  return {'image': rng.integers(0, 256, (b, size, size, 3), np.uint8), 'tokens': tokens}


def fresh(parts, config, mesh=None):
  """(state, shardings) before the first step."""
  return states.create(lambda key: drawing.init_params(parts[0], config, key), parts[3],
                       mesh or meshes.make(1), KEY)


def run(parts, config, mesh, n=4, accumulate=1):
  """Metrics of n steps and the last state."""
  _, draw, loss, optimizer, rate = parts
  state, shardings = fresh(parts, config, mesh)
  made = steps.compiled(
      steps.make(draw, loss, optimizer, rate, AVERAGES, accumulate=accumulate),
      shardings, mesh)
  out = []
  for i in range(n):
    state, metrics = made(state, meshes.to_devices(batch_of(i), mesh), KEY)
    out.append(metrics)
    if i == 0:
      compiled.clear()
  assert not compiled, 'something was compiled after the first step'
  return jax.device_get(out), state


@pytest.fixture(scope='module')
def alone(parts, config):
  return run(parts, config, meshes.make(1))


@pytest.mark.parametrize('shape', [(2, 2, 2)])
def test_losses_agree_on_one_and_on_eight_devices(parts, config, alone, shape):
  metrics, state = run(parts, config, meshes.make(*shape))
  for a, b in zip(alone[0], metrics):
    np.testing.assert_allclose(b['loss'], a['loss'], rtol=1e-5)
    np.testing.assert_allclose(b['parts'], a['parts'], rtol=1e-4, atol=1e-5)
  for tree in (state.params, state.ema[0]):  # averages lie as their parameters do
    kernel = tree['text_encoder']['attention_0']['q']['kernel']
    shard = kernel.addressable_shards[0].data.size
    assert shard == kernel.size // (shape[1] * shape[2])


def test_losses_agree_with_a_literal_pmap(parts, config, alone):
  """The same loss, gradients averaged by hand over eight devices."""
  _, draw, loss, optimizer, _ = parts
  params = jax.device_get(fresh(parts, config)[0].params)
  opt_state = optimizer.init(params)

  @functools.partial(jax.pmap, axis_name='i', in_axes=(None, None, 0, 0),
                     out_axes=(0, None, None))
  def step(params, opt_state, batch, drawn):
    (value, _), grads = jax.value_and_grad(loss, has_aux=True)(params, batch, drawn)
    value, grads = jax.lax.pmean((value, grads), 'i')
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return value, optax.apply_updates(params, updates), opt_state

  for i, expected in enumerate(alone[0]):
    batch = batch_of(i)
    drawn = draw(jax.random.fold_in(KEY, i), batch['image'].shape, EVEN)
    split = lambda x: x.reshape(8, -1, *x.shape[1:])
    value, params, opt_state = step(
        params, opt_state, jax.tree.map(split, batch), jax.tree.map(split, drawn))
    np.testing.assert_allclose(value[0], expected['loss'], rtol=1e-5)


def test_frozen_parameters_stay_and_the_rest_learns_around_them(parts, config):
  """Frozen: no gradient, no moments, no average, and an argument, not a constant."""
  model, draw, loss, _, _ = parts
  c = ConfigDict(config.optim.to_dict())
  c.lr_scale = (('text_encoder/.*', 0.0), ('.*', 1.0))
  optimizer, rate = optim.make(c, config.train.steps)
  mesh = meshes.make(1)
  state, shardings = states.create(
      lambda key: drawing.init_params(model, config, key), optimizer, mesh, KEY,
      frozen=lambda params: optim.frozen(c, params))
  for part, at in (('text_encoder', lambda tree: tree['text_encoder']),
                   ('backbone/out', lambda tree: tree['backbone']['out'])):
    values = jax.tree.map(lambda x: np.asarray(x) + 0.5,
                          at(states.whole(state.params, state.frozen)))
    state = states.replaced(state, part, values)  # as config.weights does
    for tree in (state.params, *state.ema):
      jax.tree.map(np.testing.assert_array_equal,
                   at(states.whole(tree, state.frozen)), values)
  before = jax.device_get(state.frozen)
  assert jax.tree.leaves(before['text_encoder']) and not jax.tree.leaves(
      before['backbone'])
  for tree in (state.params, state.ema[0]):
    assert not jax.tree.leaves(tree['text_encoder'])
  assert not [path for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)
              if 'text_encoder' in jax.tree_util.keystr(path)]
  made = steps.compiled(steps.make(draw, loss, optimizer, rate, AVERAGES),
                        shardings, mesh)
  batch = meshes.to_devices(batch_of(0), mesh)
  assert sum(np.size(x) for x in made.trace(state, batch, KEY).jaxpr.consts) < 1000
  for _ in range(3):
    state, metrics = made(state, batch, KEY)
  assert metrics['loss'] > 0
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.frozen), before)
  out = state.params['backbone']['out']['kernel']
  assert jnp.abs(out - 0.5).max() > 0


@pytest.mark.parametrize('accumulate', [4])
def test_accumulated_parts_give_the_whole_gradient(parts, config, alone, accumulate):
  metrics, _ = run(parts, config, meshes.make(1), accumulate=accumulate)
  for a, b in zip(alone[0], metrics):
    np.testing.assert_allclose(b['loss'], a['loss'], rtol=1e-5)
    np.testing.assert_allclose(b['grad_norm'], a['grad_norm'], rtol=1e-4)


def small(averages=AVERAGES):
  """(compiled step, its first state) of a network of six numbers, which compiles fast.

  Its loss is not finite for a batch that is marked.
  """
  def draw(key, shape, squares):
    return jax.random.normal(key, shape[:1])
  def loss(params, batch, drawn):
    each = jnp.square(params['w'].sum() + drawn - batch['tokens'][:, 1])
    each = jnp.where(batch['tokens'][0, 0] == 7, jnp.nan, each)
    return each.mean(), {'each': each, 't': jnp.linspace(0, 1, len(each))}
  optimizer, mesh = optax.adam(0.1), meshes.make(1)
  state, shardings = states.create(
      lambda key: {'w': jax.random.normal(key, (2, 3))}, optimizer, mesh, KEY,
      averages=len(averages))
  step = steps.make(draw, loss, optimizer, lambda step: 0.1, list(averages))
  return steps.compiled(step, shardings, mesh), state


def marked(mark):
  batch = batch_of(0)
  batch['tokens'][0, 0] = mark
  return meshes.to_devices(batch, meshes.make(1))


def test_a_step_that_is_not_finite_changes_only_the_counters():
  step, state = small()
  rows = []
  for mark in (1, 7, 7, 1):
    old = jax.device_get(state)
    state, metrics = step(state, marked(mark), KEY)
    kept = jax.tree.map(np.array_equal, jax.device_get(state), old)
    for tree in (kept.params, kept.ema, kept.squares):
      assert jax.tree.all(tree) == (mark == 7)
    assert jax.tree.all(kept.opt_state) == (mark == 7) and not kept.step
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
    rows.append(metrics['skipped'].tolist())
  assert rows == [[0, 0], [1, 1], [2, 2], [2, 0]]


def test_averages_follow_their_formulas():
  """An exponential one, and a power-function one as the sum that it stands for."""
  step, state = small((ema.exponential(0.15), ema.power(0.2)))
  expected, seen = np.asarray(state.params['w']), []
  for i in range(3):
    state, _ = step(state, marked(1), KEY)
    decay = min(0.15, (1 + i) / (10 + i))
    seen.append(np.asarray(state.params['w']))
    expected = decay * expected + (1 - decay) * seen[-1]
  np.testing.assert_allclose(state.ema[0]['w'], expected, atol=1e-6)
  at = np.arange(4) ** (ema.exponent(0.2) + 1)  # integrals of t^gamma up to each step
  share = np.diff(at) / at[-1]
  np.testing.assert_allclose(
      state.ema[1]['w'], np.tensordot(share, np.stack(seen), 1), atol=1e-6)


def test_the_running_loss_follows_the_batches():
  step, state = small()
  state, _ = step(state, marked(1), KEY)
  changed = np.asarray(state.squares) != 1
  at = np.minimum(np.linspace(0, 1, 8) * times.BINS, times.BINS - 1).astype(int)
  np.testing.assert_array_equal(np.flatnonzero(changed), at)


def test_the_state_is_donated():
  step, state = small()
  step(state, marked(1), KEY)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_nothing_large_is_a_constant_of_the_program(parts, config):
  _, draw, loss, optimizer, rate = parts
  state, _ = fresh(parts, config)
  traced = jax.make_jaxpr(steps.make(draw, loss, optimizer, rate, AVERAGES))(
      state, batch_of(0), KEY)
  assert all(np.size(c) < 2048 for c in traced.consts)


def test_captions_are_dropped_as_often_as_said(parts):
  drawn = parts[1](KEY, (20_000, 1, 1, 3), EVEN)
  np.testing.assert_allclose(drawn['drop'].mean(), 0.1, atol=0.01)


def test_a_dropped_caption_does_not_matter(parts, config):
  _, draw, loss, *_ = parts
  params = jax.tree.map(lambda p: p + 0.05, fresh(parts, config)[0].params)
  loss = jax.jit(loss)
  a, b = batch_of(0), batch_of(0)
  b['tokens'] = batch_of(1)['tokens']
  drawn = draw(KEY, a['image'].shape, EVEN)
  for drop, same in ((True, True), (False, False)):
    drawn['drop'] = jnp.full(8, drop)
    equal = jnp.abs(loss(params, a, drawn)[0] - loss(params, b, drawn)[0]) < 1e-6
    assert bool(equal) == same


def test_summary_is_the_mean_of_its_window():
  def one(loss, parts):
    return {'loss': np.float32(loss), 'grad_norm': np.float32(1), 'lr': np.float32(0.1),
            'parts': np.array(parts, np.float32), 'skipped': np.array([0, 0])}
  got = steps.summary([one(1, [2, 0, 0, 4, 1, 0, 0, 2]),
                       one(3, [4, 0, 0, 0, 1, 0, 0, 0])])
  assert got['loss'] == 2 and got['loss_t0'] == 3 and got['loss_t3'] == 2
  assert 'loss_t1' not in got
