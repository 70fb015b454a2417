r"""Runs an ablation: diffs of one config, each with the same seeds, and compares them.

python sweep.py --config=configs/sweeps/target_weighting.py --workdir=runs/targets

The file has get_config() and sweep(), a generator of diffs: {'diffusion.target': 'v'}.
Runs are done one after another; the same command goes on where it stopped, --index=I
does one alone (for a cluster's array job), --list shows them. After each, table.md,
table.csv, plot.png and diffs.json are written into the workdir: docs/sweeps.md.
"""
import contextlib
import fcntl
import importlib.util
import json
import multiprocessing
import os
import re
import signal
import sys
import types
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

import cli
from configs import base
from data import sources
import drawing
import evaluate
from evaluation import comparison
from training import checkpoint, mesh as meshes
import train

DRAWING = ('sample.', 'eval.')  # keys that do not change what is learned
FIXED = (*DRAWING, 'train.steps', 'train.eval_every')  # though train.FREE: results


def define_flags():
  cli.define_config()
  flags.DEFINE_string('workdir', None, 'Folder of the sweep.')
  flags.DEFINE_integer('index', None, 'The only run to do.')
  flags.DEFINE_integer('seeds', None, 'How many; default: SEEDS of the file, or 3.',
                       lower_bound=1)
  flags.DEFINE_bool('list', False, 'Print the runs, and do none.')


class Diff(NamedTuple):
  name: str
  keys: dict  # dotted key -> value


class Run(NamedTuple):
  """A training, and the diffs that it serves: several if they only draw otherwise."""
  index: int
  name: str  # of its folder in the workdir
  folder: str
  config: Any
  diffs: list


def read_file(path: str):
  """(diffs, metric, number of seeds) of a sweep file."""
  spec = importlib.util.spec_from_file_location('the_sweep', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'sweep'):
    raise cli.Mistake(f'--config={path} has no function sweep(), a generator of diffs.')
  given = [d if isinstance(d, tuple) else (None, d) for d in module.sweep()]
  for _, keys in given:
    if not isinstance(keys, dict) or not all(isinstance(k, str) for k in keys):
      raise cli.Mistake(f'--config={path}: sweep() yields {keys!r}; a diff is a dict '
                        "of dotted keys, as {'optim.lr': 1e-3}, or (name, dict).")
  if not given:
    raise cli.Mistake(f'--config={path}: sweep() yields no diff.')
  short = short_names({key for _, keys in given for key in keys})
  diffs = [Diff(name or ', '.join(f'{short[k]}={v}' for k, v in keys.items()) or 'base',
                keys) for name, keys in given]
  for one in (lambda d: d.name, lambda d: json.dumps(d.keys, sort_keys=True)):
    seen = [one(d) for d in diffs]
    if twice := [x for x in seen if seen.count(x) > 1]:
      raise cli.Mistake(f'--config={path}: sweep() yields {twice[0]!r} twice.')
  return (diffs, getattr(module, 'METRIC', 'accuracy/one_object'),
          getattr(module, 'SEEDS', 3))


def short_names(keys) -> dict:
  """{'optim.lr': 'lr'}: the last part of a key, where no other ends likewise."""
  last = [key.rpartition('.')[2] for key in keys]
  return {k: end if last.count(end) == 1 else k for k, end in zip(keys, last)}


def changed(c, diff: Diff):
  """A config with a diff in it. A dict replaces a whole part, as 'model'."""
  c = c.copy_and_resolve_references()
  with cli.mistakes(), c.unlocked():
    for key, value in diff.keys.items():
      *path, last = key.split('.')
      part = c
      for name in path:
        part = part.get(name) if isinstance(part, ConfigDict) else None
      if not isinstance(part, ConfigDict):
        raise ValueError(f'the diff {diff.name!r} sets {key!r}: there is no config.'
                         f'{".".join(path)} with keys.')
      try:
        if isinstance(value, dict) and last in part:
          del part[last]
        part[last] = ConfigDict(value) if isinstance(value, dict) else value
      except TypeError as e:
        raise ValueError(f'the diff {diff.name!r} sets {key!r}: {e}') from e
    try:
      base.check(c)
    except ValueError as e:
      raise ValueError(f'the diff {diff.name!r}: {e}') from e
  return c


def plan(c, diffs: list[Diff], seeds: int, workdir: str) -> list[Run]:
  """The runs, seed by seed, so that a sweep that is not over compares what it has.

  Diffs that are alike but for DRAWING share a training, which keeps its averages.
  """
  alike = {}
  for diff in diffs:
    learned = {k: v for k, v in diff.keys.items() if not k.startswith(DRAWING)}
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
      runs.append(Run(len(runs), name, os.path.join(workdir, name), config, served))
  return runs


def check(flag, c, diffs, metric: str):
  """Raises Mistake for what can be seen of a sweep without building anything."""
  given = config_flags.get_override_values(flag['config'])
  for diff in diffs:
    for key in diff.keys:
      if key in ('seed', 'train.averages_every'):
        raise cli.Mistake(f'the diff {diff.name!r} sets {key!r}, which is for sweep.py '
                          'to set.')
      if both := [k for k in given if f'{k}.'.startswith(f'{key}.')
                  or f'{key}.'.startswith(f'{k}.')]:
        raise cli.Mistake(f'--config.{both[0]} is given, but the diff {diff.name!r} '
                          f'sets {key!r}.')
    if metric.startswith('accuracy/'):
      tried = changed(c, diff)
      evaluate.check(tried)
      kinds = [f'accuracy/{kind.replace(" ", "_")}' for kind in tried.eval.kinds]
      if metric not in kinds:
        raise cli.Mistake(f'METRIC is {metric!r}; config.eval.kinds of the diff '
                          f'{diff.name!r} gives {kinds}.')
  if metric.startswith('accuracy/') and not c.train.eval_every:
    raise cli.Mistake('config.train.eval_every is 0; a sweep needs the accuracy along '
                      'the way.')
  if not metric.startswith('accuracy/') and any(
      k.startswith(DRAWING) for diff in diffs for k in diff.keys):
    raise cli.Mistake(f'METRIC is {metric!r}, but a diff sets keys of config.sample or '
                      'config.eval, on which only accuracy/... depends.')


def settle_workdir(workdir: str, c, diffs, metric: str, runs):
  """Writes diffs.json. Raises Mistake where the workdir holds another sweep."""
  path = os.path.join(workdir, 'diffs.json')
  record = {'metric': metric, 'diffs': [d._asdict() for d in diffs], 'runs': [
      {'index': run.index, 'folder': run.name, 'seed': run.config.seed,
       'diffs': [d.name for d in run.diffs]} for run in runs], 'config': cli.plain(c)}
  text = json.dumps(record, indent=2)
  with cli.mistakes():
    if os.path.exists(os.path.join(workdir, 'config.json')):
      raise ValueError(f'--workdir={workdir} holds a run of train.py; give another.')
    os.makedirs(workdir, exist_ok=True)
  with locked(workdir):
    if os.path.exists(path):
      with open(path, encoding='utf-8') as f:
        old = json.load(f)
      keys = [f'config.{k}' for k in train.differences(old['config'], record['config'])
              if k.startswith(FIXED) or not k.startswith(train.FREE)]
      keys += [k for k in ('metric', 'diffs') if old[k] != json.loads(text)[k]]
      if keys:
        raise cli.Mistake(f'--workdir={workdir} holds a sweep with another '
                          f'{", ".join(keys)}; give a new --workdir.')
    cli.write_text(path, text + '\n')


@contextlib.contextmanager
def locked(workdir: str):
  """Waits for another process that writes into a sweep's folder just now."""
  with open(os.path.join(workdir, 'lock'), 'w') as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    yield


def apart(work, *args):
  """Runs work(*args) in a process of its own; ends this one if that fails.

  Each run so has the devices and the memory for itself: this process never starts jax's
  devices, so it can fork, and nothing is imported again.
  """
  child = multiprocessing.get_context('fork').Process(target=ended, args=(work, *args))
  child.start()
  before = {  # a Ctrl-C reaches the child by itself
      signum: signal.signal(signum, answer) for signum, answer in (
          (signal.SIGTERM, lambda *_: child.terminate()),
          (signal.SIGINT, lambda *_: None))}
  child.join()
  for signum, answer in before.items():
    signal.signal(signum, answer)
  if child.exitcode:
    sys.exit(child.exitcode if child.exitcode > 0 else 128 - child.exitcode)


def ended(work, *args):
  with cli.endings():
    work(*args)


def dry_run(runs: list[Run]):
  """Raises Mistake for a diff that could not be built, trained or drawn with."""
  tried = {d.name: (d, run.config) for run in runs for d in run.diffs}
  for diff, c in tried.values():
    with cli.mistakes():
      try:
        train.dry_run(changed(c, diff))
      except ValueError as e:
        raise ValueError(f'the diff {diff.name!r}: {e}') from e


def train_run(run: Run):
  with locked(os.path.dirname(run.folder)), cli.mistakes():
    sources.prepare(run.config.data)  # by one of the jobs that start at once
  train.main(types.SimpleNamespace(
      config=run.config, workdir=run.folder, distributed=False, coordinator=None,
      processes=None, process=None))


def score_run(run: Run):
  """Scores the diffs of a run at every average that it kept: scores/<step>.json."""
  mesh = meshes.make(**run.config.mesh)
  found = drawing.load(run.folder, mesh)
  stored = checkpoint.Checkpoints(run.folder, 'averages', read_only=True, say=cli.note)
  shapes = drawing.averages_of(found.c, found.params, meshes.replicated(mesh))
  configs = {diff.name: changed(run.config, diff) for diff in run.diffs}
  samplers = {name: drawing.make_sampler(found.model, c) for name, c in configs.items()}
  os.makedirs(os.path.join(run.folder, 'scores'), exist_ok=True)
  for step in sorted(set(kept_steps(run)) - set(scores(run))):
    read = stored.restore_ema(shapes, [step])
    if read is None:
      raise cli.Mistake(f'{run.folder}: the averages of step {step} cannot be read.')
    values = {}
    for name, c in configs.items():
      draw = evaluate.drawer(samplers[name], read[1][0], mesh, found.tokenizer, c,
                             seed=c.seed)
      report = evaluate.measure(draw, c.eval.kinds, num=c.eval.num, seed=c.seed,
                                size=c.data.size)
      values[name] = evaluate.scalars(report)
      print(f'step {step}, {name}: ' + ', '.join(
          f'{kind} {r["accuracy"]:.1%}' for kind, r in report.items()), flush=True)
    cli.write_text(os.path.join(run.folder, 'scores', f'{step}.json'),
                   json.dumps(values, indent=2) + '\n')


def kept_steps(run: Run) -> list[int]:
  folder = os.path.join(run.folder, 'averages')
  return [int(name) for name in os.listdir(folder) if name.isdigit()]


def scores(run: Run) -> dict:
  """{step: {diff: {metric: value}}} of score_run, as far as it came."""
  found, folder = {}, os.path.join(run.folder, 'scores')
  for name in os.listdir(folder) if os.path.isdir(folder) else ():
    step, _, ending = name.partition('.')
    if ending == 'json':
      with open(os.path.join(folder, name), encoding='utf-8') as f:
        found[int(step)] = json.load(f)
  return found


def trained(run: Run) -> bool:
  return os.path.isdir(os.path.join(
      run.folder, 'checkpoints', str(run.config.train.steps)))


def done(run: Run) -> bool:
  return trained(run) and (
      len(run.diffs) == 1 or run.config.train.steps in scores(run))


def curves_of(run: Run, metric: str) -> dict:
  """{diff: {step: value}} of a run that is done."""
  if len(run.diffs) > 1:
    return {diff.name: {step: values[diff.name][metric]
                        for step, values in scores(run).items()} for diff in run.diffs}
  with open(os.path.join(run.folder, 'metrics.jsonl'), encoding='utf-8') as f:
    lines = [json.loads(line) for line in f]
  curve = {x['step']: x[metric] for x in lines if x.get(metric) is not None}
  if not curve:
    raise cli.Mistake(f'METRIC is {metric!r}, which {run.folder}/metrics.jsonl lacks; '
                      f'it has {sorted(set().union(*lines))}.')
  return {run.diffs[0].name: curve}


def write_result(workdir: str, title: str, diffs, metric: str, runs) -> str:
  """Writes table and plot of the runs that are done; returns the table."""
  from matplotlib import figure
  with locked(workdir):
    curves = {diff.name: {} for diff in diffs}
    for run in filter(done, runs):
      for name, curve in curves_of(run, metric).items():
        curves[name][run.config.seed] = curve
    rows = comparison.compare(curves)
    table = comparison.markdown(rows, metric)
    cli.write_text(os.path.join(workdir, 'table.md'), table)
    cli.write_text(os.path.join(workdir, 'table.csv'), comparison.as_csv(rows, metric))
    sheet = figure.Figure(layout='constrained')
    keys = list(dict.fromkeys(key for diff in diffs for key in diff.keys))
    groups = [tuple(repr([diff.keys.get(key) for key in some])
                    for some in (keys[:1], keys[1:])) for diff in diffs]
    comparison.plot(sheet, curves, groups, metric, title)
    with cli.whole(os.path.join(workdir, 'plot.png')) as new:
      sheet.savefig(new, dpi=100, format='png')
  return table


def main(flag):
  if not flag.config:
    raise cli.Mistake('--config=FILE is needed, of configs/sweeps/.')
  if importlib.util.find_spec('matplotlib') is None:
    raise cli.Mistake('the plot needs matplotlib: pip install matplotlib.')
  c, path = flag.config, config_flags.get_config_filename(flag['config'])
  with cli.mistakes():
    base.check(c)
  diffs, metric, seeds = read_file(path)
  check(flag, c, diffs, metric)
  runs = plan(c, diffs, flag.seeds or seeds, flag.workdir or '')
  if flag.list:
    return print('\n'.join(f'{run.index:>4}  {run.name}' + (
        f', drawn in {len(run.diffs)} ways' * (len(run.diffs) > 1)) for run in runs))
  if not flag.workdir:
    raise cli.Mistake('--workdir=FOLDER is needed: it is made if it does not exist.')
  if flag.index is not None and not 0 <= flag.index < len(runs):
    raise cli.Mistake(f'--index={flag.index} is not one of the {len(runs)} runs, 0 to '
                      f'{len(runs) - 1}.')
  chosen = runs if flag.index is None else [runs[flag.index]]
  left = [run for run in chosen if not done(run)]
  if left:
    apart(dry_run, left)
  settle_workdir(flag.workdir, c, diffs, metric, runs)
  title = os.path.basename(path).removesuffix('.py')
  for run in left:
    print(f'run {run.index} of 0 to {len(runs) - 1}: {run.name}', flush=True)
    if not trained(run):
      apart(train_run, run)
    if not trained(run):
      return print(f'stopped in run {run.index}; the same command goes on from here.')
    if len(run.diffs) > 1:
      apart(score_run, run)
    write_result(flag.workdir, title, diffs, metric, runs)
  print(write_result(flag.workdir, title, diffs, metric, runs), end='')


if __name__ == '__main__':
  cli.run(main, define_flags)
