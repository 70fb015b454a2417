"""A choice is one file and one row: toys of every kind, added from outside.

Each test puts a row into a table and sees it work through the functions that all others
go through. KINDS is the table "to add X, touch these files" of docs/design.md.
"""
import importlib
import inspect
import pathlib
import re
import sys

from absl import flags
from flax import linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, config_flags
import numpy as np
import optax
import pytest
from safetensors import numpy as storage

from data import loader, sources
import diffusion
from diffusion import (
    editing, guidance, losses, posterior, process, schedules, solvers, time_sampling,
    timesteps)
import evaluation
from evaluation import benchmarks, features, metrics, scores, sweeps
from evaluation.benchmarks import drawing
from evaluation.benchmarks.benchmark import Benchmark, Item
from evaluation.features import networks, preprocessing
from evaluation.scores import Metric
from helpers import toys
from helpers.tiny import tiny
from inference import dry_run
from interop import names
import models
from models import autoencoders, backbones, conditions
import training
from training import ema, objectives, optim, run_log, trackers
from training.objectives import objective

ROOT = pathlib.Path(__file__).parent.parent
KINDS = {  # kind -> (where its rows are written, the table, the key that chooses one)
    'schedule': ('diffusion/schedules.py', 'SCHEDULES', 'diffusion.schedule'),
    'target': ('diffusion/process.py', 'TARGETS', 'diffusion.target'),
    'loss weight': ('diffusion/losses.py', 'LOSS_WEIGHTS', 'diffusion.loss_weight'),
    'loss measure': ('diffusion/time_sampling.py', 'LOSS_OVER', 'diffusion.loss_over'),
    'time sampling': ('diffusion/time_sampling.py', 'DENSITIES',
                      'diffusion.time_sampling'),
    'objective': ('training/objectives/', 'OBJECTIVES', 'train.objective'),
    'solver': ('diffusion/solvers/', 'SOLVERS', 'sample.solver'),
    'timesteps': ('diffusion/timesteps.py', 'TIMESTEPS', 'sample.timesteps'),
    'guidance rule': ('diffusion/guidance.py', 'RULES', 'sample.rule'),
    'guidance over time': ('diffusion/guidance.py', 'OVER_TIME', 'sample.over_time'),
    'clipping of x0': ('diffusion/guidance.py', 'CLIPS', 'sample.clip'),
    'fill of a mask': ('diffusion/editing.py', 'FILLS', '--fill'),
    'backbone': ('models/backbones/', 'BACKBONES', 'model.name'),
    'condition': ('models/conditions/', 'CONDITIONS', 'condition.name'),
    'autoencoder': ('models/autoencoders/', 'AUTOENCODERS', 'autoencoder.name'),
    'optimizer': ('training/optim.py', 'OPTIMIZERS', 'optim.name'),
    'average': ('training/ema.py', 'PROFILES', 'optim.ema'),
    'tracker': ('training/trackers.py', 'TRACKERS', 'train.trackers'),
    'metric': ('evaluation/metrics/', 'METRICS', 'eval.metrics'),
    'judged benchmark': ('evaluation/benchmarks/', 'BENCHMARKS', '--benchmark'),
    'feature network': ('evaluation/features/', 'FEATURES', 'features.load'),
    'preprocessing': ('evaluation/features/preprocessing.py', 'PREPROCESSINGS',
                      'features.load'),
    'data source': ('data/sources/', 'SOURCES', 'data.source'),
    'paper': ('configs/papers/', 'docs/papers.md', '--config'),
    'sweep': ('configs/sweeps/', 'docs/sweeps.md', '--config'),
}


@pytest.fixture
def c(tmp_path):
  return tiny(str(tmp_path))


def table_of(kind: str) -> dict:
  """The table that the rows of a kind stand in."""
  place, name, _ = KINDS[kind]
  module = place.strip('/').removesuffix('.py').replace('/', '.')
  return getattr(importlib.import_module(module), name)


def trains(c) -> dict:
  """Shapes of the metrics of a training step; sampling is checked, too."""
  built = training.build(c, dry_run.check(c))
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(built.step, built.shapes, built.batch_shapes, key)[1]


def drawn(c):
  """x0 f32[1 2 2 1] that a config.sample leads to from noise, of pictures of 0.5."""
  plan = diffusion.build_sampling(c.sample, diffusion.build(c.diffusion))
  guided = plan.guide(lambda x, t: (jnp.full_like(x, 0.5), jnp.zeros_like(x)),
                      lambda x, t: jnp.full_like(x, 0.5), c.sample.guidance)
  return diffusion.sampling.sample(
      guided, plan.solver, jnp.ones((1, 2, 2, 1)), plan.timesteps,
      jax.random.split(jax.random.key(0), 1))


# The docs.

def test_the_docs_say_what_to_touch():
  text = (ROOT / 'docs' / 'design.md').read_text()
  rows = re.findall(r'^\| (?:an? )?([^|]+?) \| `([^`]+)` \| `([^`]+)` \| `([^`]+)`',
                    text, re.M)
  assert {kind: tuple(rest) for kind, *rest in rows} == KINDS
  for kind, (place, table, _) in KINDS.items():
    assert (ROOT / place).exists()
    assert (ROOT / table).exists() if '/' in table else table_of(kind)


def test_every_kind_has_a_toy():
  tests = {name for name, value in globals().items() if inspect.isfunction(value)}
  for kind in KINDS:
    assert any(name.endswith('_' + kind.replace(' ', '_')) for name in tests), kind


# The maths.

def test_a_schedule(c, monkeypatch):
  def power(power: float = 2.0):
    return lambda t: (1 - t**power, t**power)
  monkeypatch.setitem(schedules.SCHEDULES, 'power', power)
  c.diffusion.schedule = 'power(power=3.0)'
  alpha, sigma = diffusion.build(c.diffusion).schedule(jnp.float32(0.5))
  assert (alpha, sigma) == (0.875, 0.125)
  c.sample.timesteps = 'karras'  # asks the schedule where a noise level lies
  trains(c)
  assert np.isfinite(drawn(c)).all()


def test_a_target(c, monkeypatch):
  monkeypatch.setitem(process.TARGETS, 'mean', lambda: lambda alpha, sigma: (0.5, 0.5))
  c.diffusion.update(dict(target='mean', loss_weight='min_snr'))
  trains(c)
  c.diffusion.loss_weight = 'mean'  # every target is a loss weight, too
  built = diffusion.build(c.diffusion)
  weight = diffusion.build_loss_weight(c.diffusion, built)
  assert weight(jnp.float32(0.0)) == pytest.approx(0)  # at alpha = sigma it is x_t
  x0, eps = jnp.ones((1, 2, 2, 1)), -jnp.ones((1, 2, 2, 1))
  assert not process.target_value(built.target, x0, eps, 0.3, 0.7).any()


def test_a_loss_weight(c, monkeypatch):
  monkeypatch.setitem(losses.LOSS_WEIGHTS, 'flat',
                      lambda height=1.0: lambda log_snr: height + 0 * log_snr)
  c.diffusion.loss_weight = 'flat(height=3.0)'
  weight = diffusion.build_loss_weight(c.diffusion, diffusion.build(c.diffusion))
  assert weight(jnp.float32(7.0)) == 3.0
  trains(c)


def test_a_time_sampling(c, monkeypatch):
  def end(schedule, low: float = 0.5):  # asks for the schedule, as log_normal does
    return lambda u: (low + (1 - low) * u) * schedule(0.0)[0]
  monkeypatch.setitem(time_sampling.DENSITIES, 'end', end)
  c.diffusion.time_sampling = 'end(low=0.75)'
  built = diffusion.build(c.diffusion)
  t, importance = diffusion.build_time_sampling(c.diffusion, built)(
      jax.random.key(0), 64, jnp.ones(time_sampling.BINS))
  assert 0.75 <= t.min() < 0.77 and (importance == 1).all()
  trains(c)


def test_a_loss_measure(c, monkeypatch):
  monkeypatch.setitem(time_sampling.LOSS_OVER, 'square', lambda: lambda t: t**2)
  c.diffusion.update(dict(loss_over='square', time_sampling='uniform'))
  t, importance = diffusion.build_time_sampling(
      c.diffusion, diffusion.build(c.diffusion))(
          jax.random.key(0), 64, jnp.ones(time_sampling.BINS))
  np.testing.assert_allclose(importance, 2 * t, rtol=1e-3)


# Sampling.

def test_a_solver(c, monkeypatch):
  def halves(schedule, *, noise: float = 0.0):
    """Steps to the middle of where DDIM would; remembers, and may draw noise."""
    def step(denoise, x, x0, state, t, s, keys):
      end = posterior.transfer(x, x0, schedule(t), schedule(s))
      return jnp.where(s > 0, (x + end) / 2, x0) + noise, state + 1
    return solvers.Solver(lambda x: jnp.int32(0), step, stochastic=noise > 0,
                          remembers=True)
  monkeypatch.setitem(solvers.SOLVERS, 'halves', halves)
  c.sample.update(dict(solver='halves(noise=0.25)', guidance=1.0))
  np.testing.assert_allclose(drawn(c)[0, 0, 0], 0.5 + 0.25, rtol=1e-6)
  plan = diffusion.build_sampling(c.sample, diffusion.build(c.diffusion))
  diffusion.build_fill('blend', plan.solver)
  with pytest.raises(ValueError, match='without memory'):  # by its properties alone
    diffusion.build_fill('repaint', plan.solver)
  dry_run.check(c)


def test_a_timesteps(c, monkeypatch):
  def squares(steps: int, t_max: float, *, power: int = 2):
    return t_max * np.linspace(1, 0, steps + 1)[:-1]**power
  monkeypatch.setitem(timesteps.TIMESTEPS, 'squares', squares)
  c.sample.update(dict(timesteps='squares(power=1)', steps=4))
  plan = diffusion.build_sampling(c.sample, diffusion.build(c.diffusion))
  np.testing.assert_allclose(plan.timesteps, [1, 0.75, 0.5, 0.25, 0], rtol=1e-6)
  dry_run.check(c)


def test_a_guidance_rule(c, monkeypatch):
  def counting(schedule, most: float = 2.0):
    """Guides more with each evaluation: a rule that remembers."""
    def combine(x, t, cond, uncond, scale, state):
      return cond + jnp.minimum(state, most) * (cond - uncond), state + 1
    return guidance.Rule(lambda x: 0.0, combine)
  monkeypatch.setitem(guidance.RULES, 'counting', counting)
  c.sample.update(dict(rule='counting(most=1.5)', steps=3, clip='none', solver='lcm'))
  np.testing.assert_allclose(drawn(c)[0, 0, 0], 0.5 + 1.5 * 0.5, rtol=1e-6)
  c.sample.solver = 'adaptive'
  with pytest.raises(ValueError, match='no rule that remembers'):
    drawn(c)


def test_a_guidance_over_time(c, monkeypatch):
  monkeypatch.setitem(guidance.OVER_TIME, 'half',
                      lambda by=0.5: lambda t, scale: by * scale)
  c.sample.update(dict(over_time='half(by=0.25)', guidance=8.0, clip='none'))
  np.testing.assert_allclose(drawn(c)[0, 0, 0], 2 * 0.5, rtol=1e-6)
  dry_run.check(c)


def test_a_clipping_of_x0(c, monkeypatch):
  monkeypatch.setitem(guidance.CLIPS, 'soft', lambda: jnp.tanh)
  c.sample.update(dict(clip='soft', guidance=1.0))
  np.testing.assert_allclose(drawn(c)[0, 0, 0], np.tanh(0.5), rtol=1e-6)
  dry_run.check(c)


def test_a_fill_of_a_mask(c, monkeypatch):
  def once(repeats: int = 1):
    return editing.Fill(lambda times: times, editing.inpaint, repeats == 1)
  monkeypatch.setitem(editing.FILLS, 'once', once)
  plan = diffusion.build_sampling(c.sample, diffusion.build(c.diffusion))
  assert diffusion.build_fill('once', plan.solver).remembers
  with pytest.raises(ValueError, match='without memory'):
    diffusion.build_fill('once(repeats=2)', plan.solver)


# Models.

def test_a_backbone(c, monkeypatch):
  monkeypatch.setitem(backbones.BACKBONES, 'mixer', toys.Mixer)
  c.model = ConfigDict(dict(name='mixer', width=12))
  trains(c)
  c.train.objective = 'dispersive(block=0)'  # its taps are there at once
  assert set(trains(c)['terms']) == {'mse', 'dispersive'}
  c.train.objective = 'denoising'
  c.model.scalars = ('guidance',)  # and so are further scalars
  shapes = models.param_shapes(models.build(c), (16, 16), c.tokenizer.length)
  assert 'guidance' in shapes['backbone']
  c.condition = ConfigDict(dict(name='none'))
  with pytest.raises(ValueError, match='gives no pooled'):
    trains(c)
  c.model.wide = 3
  with pytest.raises(ValueError, match=r"\['wide'\]; 'mixer' takes only"):
    trains(c)


def test_a_condition(c, monkeypatch):
  monkeypatch.setitem(conditions.CONDITIONS, 'bag', toys.Bag)
  c.condition = ConfigDict(dict(name='bag', width=8))
  trains(c)
  c.model = ConfigDict(dict(name='microdit'))
  with pytest.raises(ValueError, match="'bag', which gives no text"):
    trains(c)


def test_an_autoencoder(c, monkeypatch):
  monkeypatch.setitem(autoencoders.AUTOENCODERS, 'packed', toys.Packed)
  c.autoencoder = ConfigDict(dict(name='packed'))
  c.sample.clip = 'none'
  built = training.build(c, dry_run.check(c))
  assert built.module.latent_shape((16, 32)) == (8, 16, 12)
  trains(c)


# Training.

def test_an_objective(c, monkeypatch):
  def momentum(given, *, weight: float = 0.5):
    """Denoising, with a term of its average and parameters of its own."""
    plain = objectives.OBJECTIVES['denoising'](given)
    def loss(params, ema, batch, drawn):
      terms, seen = plain.loss(params, ema, batch, drawn)
      apart = jnp.square(params['extra']['scale'] - ema['extra']['scale']).sum()
      return terms | {'momentum': weight * apart + 0 * seen['t']}, seen
    extra = objective.Part(lambda key, params: {'scale': jnp.ones(3)}, trained=True)
    return objectives.Objective(plain.draw, loss, {'extra': extra})
  monkeypatch.setitem(objectives.OBJECTIVES, 'momentum', momentum)
  c.train.objective = 'momentum(weight=2.0)'
  assert set(trains(c)['terms']) == {'mse', 'momentum'}
  built = training.build(c, dry_run.check(c))
  assert built.shapes.params['extra']['scale'].shape == (3,)


def test_an_optimizer(c, monkeypatch):
  monkeypatch.setitem(optim.OPTIMIZERS, 'sgd', lambda b1, b2: optax.trace(b1))
  c.optim.name = 'sgd'
  trains(c)


def test_an_average(c, monkeypatch):
  def uniform(start: int = 0):
    return lambda step: jnp.maximum(step - start, 0) / (step + 1)
  monkeypatch.setitem(ema.PROFILES, 'uniform', uniform)
  c.optim.ema = ('uniform(start=2)', 'exponential')
  assert len(training.build(c, dry_run.check(c)).shapes.ema) == 2
  trains(c)


def test_a_tracker(c, monkeypatch, tmp_path):
  told = []
  def diary(given, *, pages: int = 1):
    tell = lambda *values: told.append((given.name, pages, *values))
    return trackers.Tracker(tell, tell, tell, lambda: tell('closed'))
  monkeypatch.setitem(trackers.TRACKERS, 'diary', diary)
  c.train.trackers = ('diary(pages=2)',)
  dry_run.check(c)
  log = run_log.Log(str(tmp_path), 9, track=trackers.Trackers(c, str(tmp_path), 0))
  log.scalars(1, {'loss': 0.5})
  log.close()
  assert told == [(tmp_path.name, 2, 1, {'loss': 0.5}), (tmp_path.name, 2, 'closed')]


# What is measured, and of what.

def test_a_metric(c, monkeypatch):
  def redness(c):
    def measure(run):
      pictures = run.generate(run.model, ['a red ring'] * c.eval.num, run.seed)
      return {'redness': scores.mean(pictures[..., 0].mean((1, 2)) / 255)}
    return Metric({'redness': '%'}, measure)
  monkeypatch.setitem(metrics.METRICS, 'redness', redness)
  c.eval.update(dict(metrics=('redness',), num=3))
  built = evaluation.build(c)
  found = evaluation.measure(built, None, 0, generate=lambda model, prompts, seed: (
      np.full((len(prompts), 4, 4, 3), 51, np.uint8)))
  assert found['redness'].value == pytest.approx(0.2) and found['redness'].n == 3
  assert scores.table(found, evaluation.units(built)).count('20.0%') == 3
  c.train.eval_every = 4
  assert sweeps.check_metric(c, [sweeps.Diff('base', {})], 'redness') == '%'


def test_a_judged_benchmark(tmp_path, monkeypatch):
  def items(prompts, num, name):
    return [Item(line, (f'{name}/{line}.png',))
            for line in pathlib.Path(prompts).read_text().split()]
  row = Benchmark(items, lambda results, *rest: {
      'right': scores.share(int(pathlib.Path(results[0]).read_text()), 4)}, num=4,
      unit='%', index=lambda items, folder: {'words': str(len(items))})
  monkeypatch.setitem(benchmarks.BENCHMARKS, 'words', row)
  (tmp_path / 'prompts').write_text('ring star')
  (tmp_path / 'found').write_text('3')
  chosen = benchmarks.BENCHMARKS['words']
  found = chosen.items(tmp_path / 'prompts', 4, 'mine')
  drawing.check(chosen, found, 4, (8, 8))
  monkeypatch.setattr(drawing, 'pictures_of', lambda rows, model, **how: (
      (*row, np.zeros((8, 8, 3), np.uint8)) for row in rows))
  folder = pathlib.Path(drawing.draw(chosen, found, None, str(tmp_path), num=4))
  assert {p.name for p in (folder / 'mine').iterdir()} == {'ring.png', 'star.png'}
  assert (folder / 'words').read_text() == '2'
  assert chosen.scores([tmp_path / 'found'], None, '')['right'].value == 0.75


class MeanColour(nn.Module):
  @nn.compact
  def __call__(self, x):
    scale = self.param('scale', nn.initializers.ones, ())
    return {'mean': scale * x.mean((1, 2))}


def test_a_feature_network(tmp_path, monkeypatch):
  row = networks.Row(MeanColour(), 8, {'mean': 3}, ('cmmd', 'dark'), 'mean_colour',
                     (networks.File('https://example.org/x.safetensors', 1),),
                     normal=(np.zeros(3), np.ones(3)))
  monkeypatch.setitem(features.FEATURES, 'mean_colour', row)
  monkeypatch.setitem(names.FAMILIES, 'mean_colour', ((r'^gain', 'scale'),))
  storage.save_file({'gain': np.float32([2])}, tmp_path / 'x.safetensors')
  net = features.load('mean_colour', str(tmp_path))
  images = np.full((2, 16, 24, 3), 51, np.uint8)
  np.testing.assert_allclose(
      jax.jit(net.apply)(net.params, net.preprocess(images))['mean'], 0.4, rtol=1e-6)


def test_a_preprocessing(tmp_path, monkeypatch):
  monkeypatch.setitem(preprocessing.PREPROCESSINGS, 'dark', lambda images, size: (
      np.zeros((len(images), size, size, 3), np.float32)))
  test_a_feature_network(tmp_path, monkeypatch)
  net = features.load('mean_colour', str(tmp_path), 'dark')
  assert net.preprocess(np.ones((2, 16, 24, 3), np.uint8)).shape == (2, 8, 8, 3)


def test_a_data_source(c, monkeypatch, tokenizer):
  monkeypatch.setitem(sources.SOURCES, 'colours', toys.Colours)
  c.data.update(dict(source='colours', pictures=32, size=16))
  dry_run.check(c)
  sources.prepare(c.data)
  pictures = sources.Pictures(c.data)
  batch = next(loader.batches(pictures, tokenizer, length=16, batch=8, seed=0))
  assert batch['image'].shape == (8, 16, 16, 3) and batch['tokens'].any(1).all()
  assert sorted(batch['sizes'][0]) == [0, 4, 16, 16, 16, 24]  # of 24 x 16 pixels


def test_a_paper(tmp_path, monkeypatch):
  path = tmp_path / 'paper.py'
  path.write_text(toys.PAPER)
  argv = ['train.py', f'--config={path}:large,reduced', '--config.optim.lr=0.5']
  monkeypatch.setattr(sys, 'argv', argv)
  given = flags.FlagValues()
  config_flags.DEFINE_config_file('config', lock_config=False, flag_values=given)
  given(argv)
  assert given.config.model.width == 24 and given.config.optim.lr == 0.5
  dry_run.check(given.config)


def test_a_sweep(tmp_path, c):
  path = tmp_path / 'sweep.py'
  path.write_text(toys.SWEEP)
  diffs, metric, seeds = sweeps.read_file(str(path))
  runs = sweeps.plan(c, diffs, seeds, str(tmp_path))
  assert [(run.config.optim.name, run.config.seed) for run in runs] == [
      ('adamw', 0), ('lion', 0), ('adamw', 1), ('lion', 1)]
  assert sweeps.check_metric(c, diffs, metric) == ''
  sweeps.check_runs(runs)
