"""Nonsense is refused by key, whatever the choice: generated over the tables.

Each numeric key, option and field gets values that make no sense. They are refused with
a message that names them; what is accepted is to give finite numbers.
"""
import inspect
import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import base, validation
import diffusion
from diffusion import editing, gaussian, guidance, losses, process, sampling, schedules
from diffusion import specs, time_sampling, timesteps
from diffusion.solvers import SOLVERS
from helpers.small_models import built
from helpers.tiny import tiny
import models
from models.autoencoders import AUTOENCODERS
from models.backbones import BACKBONES
from models.conditions import CONDITIONS
from training import ema
from training.objectives import OBJECTIVES

NAN, INF = math.nan, math.inf
NEVER = (NAN, -INF, 'x', (1, 2, 3), None)   # is no number
ODD = (INF, -1, 0, 1e30, 2)                 # may be one, or not
FLOW, TIMES = schedules.flow, jnp.array([1.0, 0.6, 0.3, 0.1, 0.0])


def numbers(known, at=''):
  """Dotted keys of the numbers of a config, with their values."""
  for name, value in known.items():
    if isinstance(value, ConfigDict):
      if at or name not in base.MODULE_KEYS:
        yield from numbers(value, f'{at}{name}.')
    elif type(value) in (int, float):
      yield f'{at}{name}', value


KEYS = dict(numbers(base.get_config()))
# Keys for which some of ODD make sense, beside positive and finite numbers.
SENSE = {'seed': (0,), 'optim.clip': (INF,), 'diffusion.loss_weight_cap': (INF,),
         'mesh.data': (-1, 0), 'mesh.fsdp': (-1, 0), 'mesh.tensor': (-1, 0),
         'sample.guidance': (-1, 0), 'sample.picture_guidance': (-1, 0)}
ZERO = ('data.workers', 'data.single_share', 'data.max_bad', 'diffusion.augment',
        'diffusion.caption_dropout', 'lora.dropout', 'diffusion.input_std',
        'diffusion.vlb', 'optim.b1', 'optim.b2', 'optim.warmup', 'optim.decay_from',
        'sample.rescale', 'train.sample_every', 'train.eval_every',
        'train.averages_every', 'train.spike', 'train.max_rollbacks')


def refuses(c) -> str:
  """What validation.check says; '' where it says nothing."""
  try:
    validation.check(c)
  except ValueError as e:
    return str(e)
  return ''


@pytest.mark.parametrize('key', KEYS)
def test_a_number_of_a_config_makes_sense_or_is_refused_by_its_key(key):
  usual = KEYS[key]
  for value in (*NEVER, *ODD):
    c = base.get_config().unlock()
    *path, name = key.split('.')
    part = c
    for step in path:
      part = part[step]
    del part[name]
    part[name] = value
    said = refuses(c)
    fits = type(value) is type(usual) or type(usual) is float and type(value) is int
    if not fits or value in NEVER or isinstance(value, float) and math.isnan(value):
      assert f'config.{key} is {value!r}' in said, (value, said)
    elif value in (INF, -1) and value not in SENSE.get(key, ()):
      assert f'config.{key} is {value!r}' in said, (value, said)
    elif value == 0:
      allowed = key in ZERO or 0 in SENSE.get(key, ())
      assert (f'config.{key} is' not in said) == allowed, (key, said)


def options(table):
  """(row, option, default) of a table of functions."""
  for name, row in table.items():
    for option, usual in specs.options_of(row).items():
      yield name, option, usual


def finite_schedule(schedule):
  alpha, sigma = schedule(jnp.linspace(0.01, 0.99, 9))
  assert np.isfinite(alpha).all() and np.isfinite(sigma).all()
  ratio = sigma / np.maximum(alpha, 1e-30)
  assert (np.diff(ratio) >= 0).all()


def finite_target(target):
  a, b = target(jnp.float32(0.6), jnp.float32(0.8))
  assert np.isfinite(a) and np.isfinite(b) and (a or b)


def finite_weight(weight):
  values = weight(jnp.linspace(-8, 8, 17))
  assert np.isfinite(values).all() and (np.asarray(values) >= 0).all()


def times_of(quantile):
  t = np.asarray(quantile(jnp.linspace(0.01, 0.99, 50)))
  assert np.isfinite(t).all() and (0 <= t).all() and (t <= 1).all()
  assert (np.diff(t) >= -1e-6).all() and np.ptp(t) > 0


def decreasing(times):
  times = timesteps.complete(times)
  assert (np.diff(times) < 0).all() and times[0] <= 1


@jax.jit
def keys(n=0):
  return jax.random.split(jax.random.key(0), 2)


def solves(solver):
  data = gaussian.Gaussian(0.2, 0.5)
  x = jax.random.normal(jax.random.key(1), (2, 2, 2, 1))
  if solver.learned_variance:
    return
  guided = guidance.unguided(data.denoiser(FLOW))
  out = sampling.sample(guided, solver, x, TIMES, keys())
  assert np.isfinite(out).all()


def rules(rule):
  x = jnp.full((2, 2, 2, 1), 0.3)
  out, _ = rule.combine(x, jnp.float32(0.5), 2 * x, x, 3.0, rule.init(x))
  assert np.isfinite(out).all()


def scales(over_time):
  assert np.isfinite(over_time(jnp.linspace(0, 1, 9), 3.0)).all()


def clips(clip):
  out = clip(jnp.linspace(-9, 9, 16).reshape(1, 4, 4, 1))
  assert np.isfinite(out).all() and np.ptp(out) > 0


def profiles(decay):
  values = [float(decay(jnp.int32(step))) for step in (0, 1, 10, 1000)]
  assert all(0 <= value <= 1 for value in values)


TABLES = {  # key -> (table, what a row may need, what is to hold of what it gives)
    'diffusion.schedule': (schedules.SCHEDULES, {}, finite_schedule),
    'diffusion.target': (process.TARGETS, {}, finite_target),
    'diffusion.loss_weight': (losses.weights(), {}, finite_weight),
    'diffusion.time_sampling': (time_sampling.DENSITIES, dict(
        schedule=FLOW, loss_ema=jnp.ones(time_sampling.BINS)), times_of),
    'sample.timesteps': (timesteps.TIMESTEPS, dict(
        schedule=FLOW, steps=5, t_max=1.0), decreasing),
    'sample.solver': (SOLVERS, dict(schedule=FLOW, times=TIMES), solves),
    'sample.rule': (guidance.RULES, dict(schedule=FLOW), rules),
    'sample.over_time': (guidance.OVER_TIME, {}, scales),
    'sample.clip': (guidance.CLIPS, {}, clips),
    'optim.ema': (ema.PROFILES, {}, profiles),
}
OPTIONS = [(key, *row) for key, (table, *_) in TABLES.items() for row in options(table)]


def written(value) -> str:
  """As it stands in a spec: nan and inf are no Python literals."""
  return '1e999' if value == INF else '-1e999' if value == -INF else repr(value)


@pytest.mark.parametrize('key, row, option, usual', OPTIONS)
def test_an_option_of_a_choice_gives_finite_numbers_or_is_refused(
    key, row, option, usual):
  table, given, holds = TABLES[key]
  for value in (*NEVER[1:], *ODD, 0.5, -0.3, 1e-9):
    spec = f'{row}({option}={written(value)})'
    fits = specs.alike(value, usual) and type(usual) in (int, float)
    try:
      made = specs.build(table, spec, key, **given)
      assert fits or type(usual) is bool and isinstance(value, bool), spec
      holds(made)
    except ValueError as e:
      assert str(e).startswith(f'config.{key} is ') or 'do not decrease' in str(e), spec
      assert option in str(e) or fits, (spec, str(e))


@pytest.mark.parametrize('row, option', [
    (name, option) for name, option, _ in options(editing.FILLS)])
def test_an_option_of_a_fill_is_refused_by_its_flag(row, option):
  for value in (*NEVER[2:], 0, -1, 0.5):
    with pytest.raises(ValueError, match=f'^--fill is .*{option}'):
      diffusion.build_fill(f'{row}({option}={value!r})', SOLVERS['ddpm'](FLOW))


@pytest.mark.parametrize('row, option, usual', list(options(OBJECTIVES)))
def test_an_option_of_an_objective_is_a_finite_number(row, option, usual):
  for value in (*NEVER[1:], INF):
    with pytest.raises(ValueError, match=f'config.train.objective is .*{option}'):
      specs.check(OBJECTIVES, f'{row}({option}={written(value)})', 'train.objective')


FIELDS = [(section, name, field, default)
          for section, table in (('model', BACKBONES), ('condition', CONDITIONS),
                                 ('autoencoder', AUTOENCODERS))
          for name, row in table.items()
          for field, p in inspect.signature(row).parameters.items()
          for default in [p.default]
          if field not in ('parent', 'name', 'dtype', 'image_channels')
          and type(default) in (int, float) and not isinstance(default, bool)]


@pytest.mark.parametrize('section, name, field, default', FIELDS)
def test_a_field_of_a_module_builds_or_is_refused_by_its_key(
    section, name, field, default):
  """What is accepted has shapes; a dropout above 1 has none either, by its check."""
  for value in (NAN, INF, -1, -0.5, 'x', (1,), 0):
    part = {'name': name, field: value} | ({'classes': 3} if name == 'class' else {})
    parts = dict(model=dict(name='uvit', width=8, heads=2, depth=2), length=8, vocab=40,
                 size=64) | {section: part}
    try:
      module = built(parts.pop('model'), **parts)
      assert value == 0 or field == 'shift' and value in (-1, -0.5), (field, value)
      models.param_shapes(module, (64, 64), 8)
    except ValueError as e:
      assert f'config.{section}' in str(e) or 'config.' in str(e), (value, str(e))
      assert field in str(e) or value == 0, (value, str(e))


def test_how_many_cases_there_are():
  """More than a person would have written down; each table and key has its own."""
  cases = len(KEYS) * 10 + len(OPTIONS) * 12 + len(FIELDS) * 7
  assert cases > 1_500
  assert {key for key, *_ in OPTIONS} >= set(TABLES) - {'diffusion.target'}
  assert tiny('x').train.objective == 'denoising'
