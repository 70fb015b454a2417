"""The training step: the same on any devices, in any parts, and safe from NaN."""
import functools

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from diffusion import time_sampling
from helpers.tiny import DIT
import training
from training import ema, optim, sharding, train_state, train_step
from training.build import frozen_params, init_params
from training.objectives import Objective, Part

AVERAGES = [ema.exponential(0.9)]
EVEN = jnp.ones(time_sampling.BINS)
KEY = jax.random.key(0)
compiled = []  # names of what XLA compiled
jax.monitoring.register_event_duration_secs_listener(
    lambda name, *_, **__: 'backend_compile' in name and compiled.append(name))


def batch_of(i, b=8, size=(16, 16), length=16):
  rng = np.random.default_rng(i)
  tokens = rng.integers(2, 290, (b, length)).astype(np.int32)
  tokens[:, 0], tokens[:, 9:] = 1, 0
  return {'image': rng.integers(0, 256, (b, *size, 3), np.uint8), 'tokens': tokens,
          'sizes': np.tile(np.float32([*size, 0, 0, *size]), (b, 1))}


def training_of(config, tokenizer, mesh=None, **train):
  """The Training of a config, as train.py makes it."""
  c = config.copy_and_resolve_references()
  c.optim.ema = ('exponential(decay=0.9)',)
  c.train.update(train)
  null = np.array([1] + [0] * (c.tokenizer.length - 1), np.int32)
  return training.build(c, mesh or sharding.make_mesh(1), null_tokens=null,
                        vocab=tokenizer.get_vocab_size())


def run(made, n=4):
  """Metrics of n steps and the last state."""
  state, out = made.create(), []
  for i in range(n):
    state, metrics = made.step(
        state, sharding.shard_local(batch_of(i), made.mesh), KEY)
    out.append(metrics)
    if i == 0:
      compiled.clear()
  assert not compiled, 'something was compiled after the first step'
  return jax.device_get(out), state


@pytest.fixture(scope='module')
def single(config, tokenizer):
  return training_of(config, tokenizer)


@pytest.fixture(scope='module')
def alone(single):
  return run(single)


@pytest.mark.parametrize('shape', [(2, 2, 2)])
def test_losses_agree_on_one_and_on_eight_devices(config, tokenizer, alone, shape):
  made = training_of(config, tokenizer, sharding.make_mesh(*shape))
  metrics, state = run(made)
  for a, b in zip(alone[0], metrics):
    np.testing.assert_allclose(b['loss'], a['loss'], rtol=1e-5)
    np.testing.assert_allclose(b['by_time'], a['by_time'], rtol=1e-4, atol=1e-5)
  for tree in (state.params, state.ema[0]):  # averages lie as their parameters do
    kernel = tree['text_encoder']['attention_0']['q']['kernel']
    shard = kernel.addressable_shards[0].data.size
    assert shard == kernel.size // (shape[1] * shape[2])


def test_losses_agree_with_a_literal_pmap(config, single, alone):
  """The same loss, gradients averaged by hand over eight devices."""
  objective = single.objective
  optimizer, _ = optim.build(config.optim, config.train.steps)
  params = jax.device_get(single.create().params)
  opt_state = optimizer.init(params)

  @functools.partial(jax.pmap, axis_name='i', in_axes=(None, None, 0, 0),
                     out_axes=(0, None, None))
  def step(params, opt_state, batch, drawn):
    def loss(params):
      terms, _ = objective.loss(params, params, batch, drawn)
      return sum(term.mean() for term in terms.values())
    value, grads = jax.value_and_grad(loss)(params)
    value, grads = jax.lax.pmean((value, grads), 'i')
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return value, optax.apply_updates(params, updates), opt_state

  for i, expected in enumerate(alone[0]):
    batch = batch_of(i)
    drawn = objective.draw(jax.random.fold_in(KEY, i), batch['image'].shape, EVEN, 0.0)
    split = lambda x: x.reshape(8, -1, *x.shape[1:])
    value, params, opt_state = step(
        params, opt_state, jax.tree.map(split, batch), jax.tree.map(split, drawn))
    np.testing.assert_allclose(value[0], expected['loss'], rtol=1e-5)


def test_frozen_parameters_stay_and_the_rest_learns_around_them(config, tokenizer):
  """Frozen: no gradient, no moments, no average, and an argument, not a constant."""
  c = config.copy_and_resolve_references()
  c.optim.lr_scale = (('text_encoder/.*', 0.0), ('.*', 1.0))
  made = training_of(c, tokenizer)
  state = made.create()
  for part, at in (('text_encoder', lambda tree: tree['text_encoder']),
                   ('backbone/out', lambda tree: tree['backbone']['out'])):
    values = jax.tree.map(lambda x: np.asarray(x) + 0.5,
                          at(train_state.combine(state.params, state.frozen)))
    state = train_state.with_part(state, part, values)  # as config.init_from does
    for tree in (state.params, *state.ema):
      jax.tree.map(np.testing.assert_array_equal,
                   at(train_state.combine(tree, state.frozen)), values)
  before = jax.device_get(state.frozen)
  assert jax.tree.leaves(before['text_encoder']) and not jax.tree.leaves(
      before['backbone'])
  for tree in (state.params, state.ema[0]):
    assert not jax.tree.leaves(tree['text_encoder'])
  assert not [path for path, _ in jax.tree_util.tree_leaves_with_path(state.opt_state)
              if 'text_encoder' in jax.tree_util.keystr(path)]
  batch = sharding.shard_local(batch_of(0), made.mesh)
  traced = made.step.trace(state, batch, KEY)
  assert sum(np.size(x) for x in traced.jaxpr.consts) < 1000
  for _ in range(3):
    state, metrics = made.step(state, batch, KEY)
  assert metrics['loss'] > 0
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.frozen), before)
  out = state.params['backbone']['out']['kernel']
  assert jnp.abs(out - 0.5).max() > 0


def test_shapes_are_those_of_the_state_and_of_a_batch(single):
  state = single.create()
  assert jax.tree.map(jnp.shape, state) == jax.tree.map(
      lambda s: s.shape, single.shapes)
  assert jax.tree.map(lambda x: x.sharding, state) == single.shardings
  assert {k: v.shape for k, v in batch_of(0).items()} == {
      k: v.shape for k, v in single.batch_shapes.items()}


@pytest.mark.parametrize('shape, train', [
    ((1, 1, 1), dict(accumulate=4)), ((2, 2, 2), dict(accumulate=2)),
    pytest.param((2, 2, 2), dict(accumulate=2, gather_once=False),
                 marks=pytest.mark.long)])
def test_accumulated_parts_give_the_whole_gradient(
    config, tokenizer, alone, shape, train):
  metrics, state = run(training_of(config, tokenizer, sharding.make_mesh(*shape),
                                   **train))
  for a, b in zip(alone[0], metrics):
    np.testing.assert_allclose(b['loss'], a['loss'], rtol=1e-5)
    np.testing.assert_allclose(b['grad_norm'], a['grad_norm'], rtol=1e-4)
    np.testing.assert_allclose(b['by_time'], a['by_time'], rtol=1e-4, atol=1e-5)
    for name, term in a['terms'].items():
      np.testing.assert_allclose(b['terms'][name], term, rtol=1e-4)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a, atol=2e-4),
               *jax.device_get((alone[1].params, state.params)))


@pytest.mark.long
def test_a_loss_across_pictures_is_the_same_on_any_devices(config, tokenizer):
  """Of an accumulated part all pictures are dispersed, not those of each device."""
  c = config.copy_and_resolve_references()
  c.model, c.train.objective = ConfigDict(DIT), 'dispersive'
  one, many = (run(training_of(c, tokenizer, sharding.make_mesh(n, 1, 1),
                               accumulate=2), 2)[0] for n in (1, 4))
  for a, b in zip(one, many):
    np.testing.assert_allclose(b['terms']['dispersive'], a['terms']['dispersive'],
                               rtol=1e-5)
    np.testing.assert_allclose(b['grad_norm'], a['grad_norm'], rtol=1e-4)


def small(averages=AVERAGES):
  """(compiled step, its first state) of a network of six numbers, which compiles fast.

  Its loss is not finite for a batch that is marked.
  """
  def draw(key, shape, loss_ema, progress):
    return jax.random.normal(key, shape[:1])
  def loss(params, ema, batch, drawn):
    each = jnp.square(params['w'].sum() + drawn - batch['tokens'][:, 1])
    each = jnp.where(batch['tokens'][0, 0] == 7, jnp.nan, each)
    return {'each': each}, {'loss': each, 't': jnp.linspace(0, 1, len(each))}
  optimizer, mesh = optax.adam(0.1), sharding.make_mesh(1)
  state = train_state.init_state(lambda key: {'w': jax.random.normal(key, (2, 3))},
                                 optimizer, KEY, averages=len(averages))
  shardings = train_state.state_shardings(state, mesh)
  step = train_step.build_step(Objective(draw, loss), optimizer, lambda step: 0.1,
                               list(averages), steps=100)
  return train_step.compile_step(step, shardings, mesh), jax.device_put(
      state, shardings)


def marked(mark):
  batch = batch_of(0)
  batch['tokens'][0, 0] = mark
  return sharding.shard_local(batch, sharding.make_mesh(1))


def test_a_step_that_is_not_finite_changes_only_the_counters():
  step, state = small()
  rows = []
  for mark in (1, 7, 7, 1):
    old = jax.device_get(state)
    state, metrics = step(state, marked(mark), KEY)
    kept = jax.tree.map(np.array_equal, jax.device_get(state), old)
    for tree in (kept.params, kept.ema, kept.loss_ema):
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
  at = np.arange(4) ** (ema.std_to_gamma(0.2) + 1)  # integrals of t^gamma to each step
  share = np.diff(at) / at[-1]
  np.testing.assert_allclose(
      state.ema[1]['w'], np.tensordot(share, np.stack(seen), 1), atol=1e-6)


def test_the_running_loss_follows_the_batches():
  step, state = small()
  state, _ = step(state, marked(1), KEY)
  changed = np.asarray(state.loss_ema) != 1
  bins = time_sampling.BINS
  at = np.minimum(np.linspace(0, 1, 8) * bins, bins - 1).astype(int)
  np.testing.assert_array_equal(np.flatnonzero(changed), at)


def test_the_state_is_donated():
  step, state = small()
  step(state, marked(1), KEY)
  assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_nothing_large_is_a_constant_of_the_program(single):
  traced = single.step.trace(single.shapes, batch_of(0), KEY)
  assert all(np.size(c) < 2048 for c in traced.jaxpr.consts)


def test_captions_are_dropped_as_often_as_said(single):
  drawn = single.objective.draw(KEY, (20_000, 4, 4, 3), EVEN, 0.0)
  np.testing.assert_allclose(drawn['drop_caption'].mean(), 0.1, atol=0.01)


def test_a_dropped_caption_does_not_matter(single):
  params = jax.tree.map(lambda p: p + 0.05, single.create().params)
  loss = jax.jit(lambda *args: single.objective.loss(params, params, *args)[1]['loss'])
  a, b = batch_of(0), batch_of(0)
  b['tokens'] = batch_of(1)['tokens']
  drawn = single.objective.draw(KEY, a['image'].shape, EVEN, 0.0)
  for drop, same in ((True, True), (False, False)):
    drawn['drop_caption'] = jnp.full(8, drop)
    equal = jnp.abs(loss(a, drawn) - loss(b, drawn)).max() < 1e-6
    assert bool(equal) == same


def test_a_picture_that_is_no_square_is_trained_on(config, tokenizer):
  c = config.copy_and_resolve_references().unlock()
  del c.data.size
  c.data.size = (16, 24)
  made = training_of(c, tokenizer)
  state, metrics = made.step(made.create(), batch_of(0, size=(16, 24)), KEY)
  assert metrics['grad_norm'] > 0 and not metrics['skipped'].any()
  drawn = jax.eval_shape(lambda: made.objective.draw(KEY, (8, 16, 24, 3), EVEN, 0.0))
  assert drawn['eps'].shape == (8, 16, 24, 3)


def test_summary_is_the_mean_of_its_window():
  def one(loss, by_time, vlb):
    return {'loss': np.float32(loss), 'grad_norm': np.float32(1), 'lr': np.float32(0.1),
            'terms': {'mse': np.float32(loss - vlb), 'vlb': np.float32(vlb)},
            'by_time': np.array(by_time, np.float32), 'skipped': np.array([0, 0])}
  got = train_step.summary([one(1, [2, 0, 0, 4, 1, 0, 0, 2], 0.5),
                            one(3, [4, 0, 0, 0, 1, 0, 0, 0], 1.5)])
  assert got['loss'] == 2 and got['loss_t0'] == 3 and got['loss_t3'] == 2
  assert 'loss_t1' not in got
  assert got['loss/mse'] == 1 and got['loss/vlb'] == 1


def test_a_new_part_of_the_parameters_is_made_and_frozen_as_it_says(config, tokenizer):
  """What an objective keeps beside the model: not drawn from, trained or not."""
  made = training_of(config, tokenizer)
  for trained in (False, True):
    def first(key, params):
      return jax.tree.map(lambda p: p + 1, params['backbone'])
    objective = made.objective._replace(parts={'teacher': Part(first, trained)})
    params = init_params(config, made.module, objective, KEY)
    frozen = frozen_params(config, objective, params)
    assert set(params) == {'text_encoder', 'backbone', 'teacher'}
    assert all(jax.tree.leaves(frozen['teacher'])) != trained
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b + 1),
                 params['teacher'], params['backbone'])
