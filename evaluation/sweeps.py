"""Sweeps: diffs of one config, the trainings that they need, and their results."""
import importlib.util
import json
import os
import re
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from configs import validation
from evaluation import scores
from evaluation.build import measure_all, planned
from inference import averages, dry_run, load
from training import workdir as workdirs

SAMPLING = ('sample.', 'eval.')  # keys that do not change what is learned
KEPT_BY_SWEEP = ('seed', 'train.averages_every')  # keys that a diff may not set


class Diff(NamedTuple):
  name: str
  keys: dict  # dotted key -> value


class SweepRun(NamedTuple):
  """A training, and the diffs that it serves: several if they only sample otherwise."""
  index: int
  name: str  # of its folder in the workdir
  folder: str
  config: Any
  diffs: list


def read_file(path: str):
  """(diffs, metric, number of seeds) of a sweep file. Raises ValueError for none."""
  spec = importlib.util.spec_from_file_location('the_sweep', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'sweep'):
    raise ValueError(f'--config={path} has no function sweep(), a generator of diffs.')
  given = [d if isinstance(d, tuple) else (None, d) for d in module.sweep()]
  for _, keys in given:
    if not isinstance(keys, dict) or not all(isinstance(k, str) for k in keys):
      raise ValueError(f'--config={path}: sweep() yields {keys!r}; a diff is a dict of '
                       "dotted keys, as {'optim.lr': 1e-3}, or (name, dict).")
  if not given:
    raise ValueError(f'--config={path}: sweep() yields no diff.')
  short = short_names({key for _, keys in given for key in keys})
  diffs = [Diff(name or ', '.join(f'{short[k]}={v}' for k, v in keys.items()) or 'base',
                keys) for name, keys in given]
  for one in (lambda d: d.name, lambda d: json.dumps(d.keys, sort_keys=True)):
    seen = [one(d) for d in diffs]
    if twice := [x for x in seen if seen.count(x) > 1]:
      raise ValueError(f'--config={path}: sweep() yields {twice[0]!r} twice.')
  return (diffs, getattr(module, 'METRIC', 'accuracy/one_object'),
          getattr(module, 'SEEDS', 3))


def short_names(keys) -> dict:
  """{'optim.lr': 'lr'}: the last part of a key, where no other ends likewise."""
  last = [key.rpartition('.')[2] for key in keys]
  return {k: end if last.count(end) == 1 else k for k, end in zip(keys, last)}


def changed(c, diff: Diff):
  """A config with a diff in it. A dict replaces a whole part, as 'model'.

  Raises ValueError, with the diff's name, for a key or value that makes no sense.
  """
  c = c.copy_and_resolve_references()
  with c.unlocked():
    for key, value in diff.keys.items():
      *path, last = key.split('.')
      part = c
      for name in path:
        part = part.get(name) if isinstance(part, ConfigDict) else None
      if not isinstance(part, ConfigDict):
        raise ValueError(f'the diff {diff.name!r} sets {key!r}: there is no config.'
                         f'{".".join(path)} with keys.')
      try:
        if isinstance(value, dict) and last in part or key == 'data.size':
          del part[last]
        part[last] = ConfigDict(value) if isinstance(value, dict) else value
      except TypeError as e:
        raise ValueError(f'the diff {diff.name!r} sets {key!r}: {e}') from e
    try:
      validation.check(c)
    except ValueError as e:
      raise ValueError(f'the diff {diff.name!r}: {e}') from e
  return c


def plan(c, diffs: list[Diff], seeds: int, workdir: str) -> list[SweepRun]:
  """The runs, seed by seed, so that a sweep that is not over compares what it has.

  Diffs that are alike but for SAMPLING share a training, which keeps its averages.
  """
  alike = {}
  for diff in diffs:
    learned = {k: v for k, v in diff.keys.items() if not k.startswith(SAMPLING)}
    alike.setdefault(json.dumps(learned, sort_keys=True), (learned, []))[1].append(diff)
  runs = []
  for seed in range(c.seed, c.seed + seeds):
    for learned, served in alike.values():
      one = served[0] if len(served) == 1 else Diff(
          ', '.join(f'{k}={v}' for k, v in learned.items()) or 'base', learned)
      config = changed(c, one)
      config.seed = seed
      if len(served) > 1:
        config.train.update(dict(averages_every=c.train.eval_every, eval_every=0))
      slug = re.sub('[^A-Za-z0-9.]+', '_', one.name).strip('_')[:60]
      name = f'{len(runs):03}-{slug}-seed{seed}'
      runs.append(SweepRun(len(runs), name, os.path.join(workdir, name), config,
                           served))
  return runs


def check_metric(c, diffs, metric: str) -> str:
  """The unit of a sweep's metric; ValueError where not all diffs are measured by it.

  A name that no metric of config.eval gives is one that training logs, as 'loss'.
  """
  given = [units_of(evaluations_of(changed(c, diff))) for diff in diffs]
  own = metric in units_of(planned(c))  # or only if config.train.eval_every were not 0
  sampled = any(k.startswith(SAMPLING) for diff in diffs for k in diff.keys)
  if any(metric in some for some in given):
    for diff, some in zip(diffs, given):
      if metric not in some:
        raise ValueError(f'METRIC is {metric!r}; config.eval of the diff {diff.name!r} '
                         f'gives {sorted(some)}.')
    if not c.train.eval_every and (sampled or not own):
      raise ValueError('config.train.eval_every is 0; a sweep needs the metric along '
                       'the way.')
  elif '/' in metric:
    raise ValueError(f'METRIC is {metric!r}; config.eval gives {sorted(given[0])}.')
  elif sampled:
    raise ValueError(f'METRIC is {metric!r}, but a diff sets keys of config.sample or '
                     'config.eval, on which only metrics of config.eval depend.')
  return given[0].get(metric, '')


def evaluations_of(c) -> list:
  """evaluation.planned, with that of config.eval however seldom it is along the way."""
  c = c.copy_and_resolve_references()
  c.train.eval_every = c.train.eval_every or 1
  return planned(c)


def units_of(evaluations) -> dict:
  """{name of a score: unit} of evaluations."""
  return {name: unit for one in evaluations for name, unit in one.units.items()}


def check_runs(runs: list[SweepRun]):
  """Raises ValueError for a diff that could not be built, trained or sampled with."""
  tried = {d.name: (d, run.config) for run in runs for d in run.diffs}
  for diff, c in tried.values():
    try:
      dry_run.check(changed(c, diff))
    except ValueError as e:
      raise ValueError(f'the diff {diff.name!r}: {e}') from e


def score_run(run: SweepRun, save, say):
  """Scores the diffs of a run at every average that it kept, and that is not scored.

  Args:
    save: (step, {diff: {metric: value}}), called for each step.
    say: is told in a line.
  """
  model = load(run.folder)
  configs = {diff.name: changed(run.config, diff) for diff in run.diffs}
  plans = {name: evaluations_of(c) for name, c in configs.items()}
  for step in sorted(set(averages.stored_steps(run.folder)) - set(stored_scores(run))):
    params = averages.load_averages(model, run.folder, step)[0]
    values = {}
    for name, plan in plans.items():
      found = measure_all(plan, model.replace(params=params), run.config.seed)
      values[name], units = scores.scalars(found), units_of(plan)
      say(f'step {step}, {name}: ' + ', '.join(
          f'{key} {scores.shown(score.value, units[key])}'
          for key, score in found.items()))
    save(step, values)


def stored_scores(run: SweepRun) -> dict:
  """{step: {diff: {metric: value}}} of score_run, as far as it came."""
  found, folder = {}, os.path.join(run.folder, 'scores')
  for name in os.listdir(folder) if os.path.isdir(folder) else ():
    step, _, ending = name.partition('.')
    if ending == 'json':
      with open(os.path.join(folder, name), encoding='utf-8') as f:
        found[int(step)] = json.load(f)
  return found


def trained(run: SweepRun) -> bool:
  return workdirs.started(run.folder) and os.path.isdir(os.path.join(
      run.folder, 'checkpoints', str(run.config.train.steps)))


def done(run: SweepRun) -> bool:
  return trained(run) and (
      len(run.diffs) == 1 or run.config.train.steps in stored_scores(run))


def curves_of(run: SweepRun, metric: str) -> dict:
  """{diff: {step: value}} of a run that is done."""
  if len(run.diffs) > 1:
    return {diff.name: {step: values[diff.name][metric]
                        for step, values in stored_scores(run).items()}
            for diff in run.diffs}
  with open(os.path.join(run.folder, 'metrics.jsonl'), encoding='utf-8') as f:
    lines = [json.loads(line) for line in f]
  curve = {x['step']: x[metric] for x in lines if x.get(metric) is not None}
  if not curve:
    raise ValueError(f'METRIC is {metric!r}, which {run.folder}/metrics.jsonl lacks; '
                     f'it has {sorted(set().union(*lines))}.')
  return {run.diffs[0].name: curve}
