"""Losses that spike and numbers that are not finite are seen, named and taken back."""
import json
import math
import os
import types

from flax import linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from console.errors import UserError
from data import loader, sources, tokenizers
from helpers.tiny import DIT, tiny
import train
import training
from training import bad_steps, diagnosis, run_log, sharding, train_state
from training.objectives import OBJECTIVES, Objective, denoising

KEY = jax.random.key(0)


def rows_of(losses, finite, first=1):
  """Fetched metrics of steps."""
  return [{'loss': loss, 'skipped': [0, int(not fine)], 'step': i, 'batch': i - 1}
          for i, (loss, fine) in enumerate(zip(losses, finite), first)]


@pytest.fixture
def rng():
  seed = int.from_bytes(os.urandom(4))
  print('seed', seed)
  return np.random.default_rng(seed)


def test_normal_losses_are_no_spikes_and_a_tenfold_deviation_does(tmp_path, rng):
  """Of any mean and spread, and with a few wild values among them."""
  mean, std = rng.uniform(-5, 5), 10 ** rng.uniform(-3, 3)
  watch = bad_steps.Watch(str(tmp_path), spike=10.0, most=1)
  losses = rng.normal(mean, std, 400)
  wild = [mean - 1e6 * std, math.inf, math.nan]  # low, or of steps that were skipped
  for at in rng.integers(40, 400, 10):
    losses[at] = wild[at % 3]
  fine = np.isfinite(losses)
  watch.most = 10**6
  assert watch.see(rows_of(losses, fine)) is None and np.isfinite(watch.losses).all()
  assert len(watch.losses) == bad_steps.LATEST and not watch.is_spike(mean + 4 * std)
  deviation = max(std, bad_steps.LEAST * abs(mean))
  assert watch.is_spike(mean + 16 * deviation) and not watch.is_spike(mean - 1e9 * std)
  watch.spike = 0.0
  assert not watch.is_spike(mean + 1e9 * std)


def test_equal_losses_and_few_of_them_judge_softly(tmp_path):
  watch = bad_steps.Watch(str(tmp_path), spike=10.0, most=1)
  assert watch.see(rows_of([1.0] * 10 + [1e9], [True] * 11)) is None
  watch = bad_steps.Watch(str(tmp_path), spike=10.0, most=1)
  assert watch.see(rows_of([1.0] * 40 + [1.05], [True] * 41)) is None
  assert watch.see(rows_of([1.2], [True], 42)).step == 42


def test_a_row_is_as_long_as_asked_whatever_the_windows_and_restarts(tmp_path, rng):
  """The first place where `most` bad steps follow one another, found by brute force."""
  most, n = int(rng.integers(1, 5)), 60
  fine = rng.random(n) < 0.6
  expected = next((i for i in range(most - 1, n) if not fine[i - most + 1:i + 1].any()),
                  None)
  watch, at, found = bad_steps.Watch(str(tmp_path), 0.0, most), 0, None
  while at < n and not found:
    more = int(rng.integers(1, 9))
    found = watch.see(rows_of([1.0] * n, fine)[at:at + more])
    at += more
    state = json.loads(json.dumps(watch.get_state()))  # as a checkpoint keeps it
    watch = bad_steps.Watch(str(tmp_path), 0.0, most)
    watch.set_state(state)
  if expected is None:
    assert found is None
  else:
    assert found == bad_steps.Row(expected - most + 2, expected - most + 1,
                                  expected + 1, most, 0)


# What is not finite first.

def named(config, tokenizer, change):
  """What is said of a step whose parameters are changed, {name: parameter} -> same."""
  c = config.copy_and_resolve_references()
  c.model, c.train.accumulate = ConfigDict(DIT), 2
  built = training.build(c, sharding.make_mesh(2, 1, 1), vocab=300)
  state = built.create()
  for part, name, value in change:
    at = state.params
    for key in part.split('/'):
      at = at[key]
    state = train_state.with_part(state, part, {name: np.full_like(at[name], value)})
  batch = {'image': np.zeros((8, 16, 16, 3), np.uint8),
           'tokens': np.ones((8, 16), np.int32), 'sizes': np.ones((8, 6), np.float32)}
  return diagnosis.first_not_finite(built, state, sharding.shard_local(
      batch, built.mesh), KEY, 10, c.train.accumulate)


@pytest.mark.parametrize('change, said', [
    ([], None),
    ([('backbone/out', 'bias', math.nan)], 'the parameter backbone/out/bias'),
    ([('backbone/time/up', 'bias', 1e38), ('backbone/time/down', 'kernel', 1e38)],
     'the output of backbone/time/down')])
def test_what_is_not_finite_first_is_named(config, tokenizer, change, said):
  assert named(config, tokenizer, change) == said


def test_a_gradient_that_alone_is_not_finite_is_named():
  """The root of zero: its value is finite, its slope is not."""
  def loss(params, ema, batch, drawn):
    each = jnp.sqrt(jnp.abs(params['w'])).sum() + params['v'] + 0.0 * drawn
    return {'each': each}, {'loss': each, 't': drawn}
  def draw(key, shape, loss_ema, progress):
    return jnp.zeros(shape[0])
  built = types.SimpleNamespace(objective=Objective(draw, loss),
                                mesh=sharding.make_mesh(1))
  params = {'v': jnp.ones(()), 'w': jnp.zeros(3)}
  batch = {'image': jnp.zeros((2, 4, 4))}
  state = train_state.TrainState(jnp.int32(0), params, (params,), None, jnp.ones(8),
                                 None)
  assert diagnosis.first_not_finite(built, state, batch, KEY, 10, 1) == (
      'the gradient of w')


def test_the_layer_that_is_blamed_made_it_of_finite_numbers():
  """Of a scan, where the first layer sees in later turns what another has made."""
  class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
      x = nn.Dense(4, name='innocent')(x)
      return nn.Dense(4, name='guilty', kernel_init=nn.initializers.constant(1e30))(x)
  class Blocks(nn.Module):
    @nn.compact
    def __call__(self, x):
      turn = nn.scan(lambda block, x, _: (block(x), None), length=4,
                     variable_axes={'params': 0}, split_rngs={'params': True})
      return turn(Block(name='blocks'), x, None)[0]
  x, found = jnp.ones((2, 4)), {}
  params = Blocks().init(KEY, x)
  def run(params, x):
    with diagnosis.first_bad_layer(found):
      return Blocks().apply(params, x)
  jax.block_until_ready(jax.jit(run)(params, x))
  jax.effects_barrier()
  assert found[min(found)] == 'blocks/guilty'


# A run that meets bad batches.

@pytest.fixture(scope='module')
def planted(tmp_path_factory):
  """(config, run): a config of a tiny run, and what trains it in a workdir.

  run(workdir, bad={batch: factor}, **keys of config.train): the loss of a batch is
  multiplied by its factor.
  """
  root = tmp_path_factory.mktemp('planted')
  c = tiny(str(root / 'data'))
  c.model, c.mesh.data = ConfigDict(DIT), 1
  c.train.update(dict(objective='planted', log_every=2, checkpoint_every=4, keep=2,
                      sample_every=0))
  c.optim.update(dict(decay='constant', lr=1e-3))
  sources.prepare(c.data)
  pictures = sources.Pictures(c.data)
  made = tokenizers.train(pictures.captions(), c.tokenizer.vocab)
  sums = [int(next(batches)['image'].astype(np.int64).sum()) for batches in [
      loader.batches(pictures, made, length=16, batch=8, seed=c.seed)]
          for _ in range(64)]
  factors = {}
  def objective(given):
    plain = denoising(given)
    def loss(params, ema, batch, drawn):
      terms, seen = plain.loss(params, ema, batch, drawn)
      total, factor = batch['image'].astype(jnp.int32).sum(), 1.0
      for k, of in factors.items():
        factor = jnp.where(total == sums[k], of, factor)
      return {name: term * factor for name, term in terms.items()}, seen
    return plain._replace(loss=loss)
  patch = pytest.MonkeyPatch()
  patch.setitem(OBJECTIVES, 'planted', objective)
  def run(name, bad, debug_nans=False, **keys):
    ours = c.copy_and_resolve_references()
    ours.train.update(keys)
    factors.clear()
    factors.update(bad)
    train.train(types.SimpleNamespace(config=ours, workdir=str(root / name),
                                      debug_nans=debug_nans))
  yield root, run
  patch.undo()


def told(workdir):
  """What a run has logged, without what the clock says, and its last average."""
  lines = [json.loads(line) for line in open(workdir / 'metrics.jsonl')]
  losses = [(line['step'], line['loss'], line['grad_norm']) for line in lines]
  last = max(int(p.name) for p in (workdir / 'checkpoints').iterdir())
  sums = workdir / 'checkpoints' / str(last) / 'sums' / 'metadata'
  return losses, last, json.loads(sums.read_text())['ema']


CASES = {  # (factors of batches, keys, the row of bad steps that is found)
    'not finite': ({9: math.nan, 10: math.inf}, dict(steps=16, max_skipped=2),
                   dict(step=10, batches=[9, 11], back_to=8, spikes=0)),
    'a spike': ({41: 1e3, 42: 1e4, 43: 1e3}, dict(steps=48, max_skipped=3, spike=10.0),
                dict(step=42, batches=[41, 44], back_to=40, spikes=3))}


@pytest.mark.parametrize('case', [
    'not finite', pytest.param('a spike', marks=pytest.mark.long)])
def test_a_run_goes_back_and_is_as_if_it_had_never_had_those_batches(
    planted, capsys, monkeypatch, case):
  root, run = planted
  bad, keys, row = CASES[case]
  name = case.replace(' ', '_')
  run(name, bad, **keys)
  assert f'back to step {row["back_to"]}, and on' in capsys.readouterr().out
  (kept,) = json.loads((root / name / bad_steps.FILE).read_text())
  assert {key: kept[key] for key in row} == row and len(set(kept['records'])) == 8
  never = root / f'{name}_never'
  never.mkdir()
  (never / bad_steps.FILE).write_text(json.dumps([kept]))
  run(never.name, {}, **keys)
  assert told(root / name) == told(never)

  # Killed when it has gone back, before anything new is saved: the same again.
  again, scalars = f'{name}_again', run_log.Log.scalars
  def killed(log, step, values):
    if (root / again / bad_steps.FILE).exists():
      raise KeyboardInterrupt
    scalars(log, step, values)
  with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
    patch.setattr(run_log.Log, 'scalars', killed)
    run(again, bad, **keys)
  run(again, bad, **keys)
  assert told(root / again) == told(root / name)
  assert len(json.loads((root / again / bad_steps.FILE).read_text())) == 1


@pytest.mark.long
def test_a_run_that_has_gone_back_too_often_says_what_was_bad(planted):
  root, run = planted
  bad = {9: math.nan, 13: math.nan}
  with pytest.raises(UserError, match='not finite at step 13: first the loss .*records '
                     r'\d+, .*max_rollbacks is 1, and the run has gone back 1 times'):
    run('often', bad, steps=16, max_skipped=1, max_rollbacks=1)
  rows = json.loads((root / 'often' / bad_steps.FILE).read_text())
  assert [row['back_to'] for row in rows] == [8, None]
  run('often', bad, steps=16, max_skipped=1, max_rollbacks=2)  # it may be told to go on
  assert told(root / 'often')[1] == 16


def test_debug_nans_stops_at_the_first_step_that_is_not_finite(planted):
  _, run = planted
  with pytest.raises(UserError, match="not finite at step 4: first the loss 'mse'"):
    run('debug', {3: math.nan}, debug_nans=True, steps=16)
