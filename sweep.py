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
import signal
import sys

from absl import flags
from ml_collections import config_flags

from console import command, files, options
from console.errors import UserError, user_errors
from data import sources
from evaluation import comparison, sweeps
from training import workdir as workdirs

FIXED = (*sweeps.SAMPLING, 'train.steps', 'train.eval_every')  # though FREE: results
TRAIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'train.py')


def define_flags():
  options.define_config()
  flags.DEFINE_string('workdir', None, 'Folder of the sweep.')
  flags.DEFINE_integer('index', None, 'Index of the only run to do.')
  flags.DEFINE_integer('seeds', None, 'Number of seeds; by default SEEDS of the file, '
                       'or 3.', lower_bound=1)
  flags.DEFINE_bool('list', False, 'Print the runs, and do none.')


def check_diffs(flag, diffs):
  """Raises UserError for what can be seen of a sweep without building anything."""
  given = config_flags.get_override_values(flag['config'])
  for diff in diffs:
    for key in diff.keys:
      if key in sweeps.KEPT_BY_SWEEP:
        raise UserError(f'the diff {diff.name!r} sets {key!r}, which is for sweep.py '
                        'to set.')
      if both := [k for k in given if f'{k}.'.startswith(f'{key}.')
                  or f'{key}.'.startswith(f'{k}.')]:
        raise UserError(f'--config.{both[0]} is given, but the diff {diff.name!r} sets '
                        f'{key!r}.')


def resolve_workdir(workdir: str, c, diffs, metric: str, runs):
  """Writes diffs.json. Raises UserError where the workdir holds another sweep."""
  path = os.path.join(workdir, 'diffs.json')
  record = json.loads(json.dumps({
      'metric': metric, 'diffs': [d._asdict() for d in diffs], 'runs': [
          {'index': run.index, 'folder': run.name, 'seed': run.config.seed,
           'diffs': [d.name for d in run.diffs]} for run in runs],
      'config': workdirs.json_of_config(c)}))
  with user_errors():
    if os.path.exists(os.path.join(workdir, 'config.json')):
      raise ValueError(f'--workdir={workdir} holds a run of train.py; give another.')
    os.makedirs(workdir, exist_ok=True)
  with locked(workdir):
    if os.path.exists(path):
      old = files.read_json(path)
      keys = [f'config.{k}' for k in workdirs.differences(old['config'],
                                                          record['config'])
              if k.startswith(FIXED) or not workdirs.free(k)]
      keys += [k for k in ('metric', 'diffs') if old[k] != record[k]]
      if keys:
        raise UserError(f'--workdir={workdir} holds a sweep with another '
                        f'{", ".join(keys)}; give a new --workdir.')
    files.write_json(path, record)


@contextlib.contextmanager
def locked(workdir: str):
  """Waits for another process that writes into a sweep's folder just now."""
  with open(os.path.join(workdir, 'lock'), 'w') as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    yield


def in_child(work, *args):
  """What work(*args) returns in a process of its own; ends this one if that fails.

  Each run so has the devices and the memory for itself: this process never starts jax's
  devices, so it can fork, and nothing is imported again.
  """
  fork = multiprocessing.get_context('fork')
  result, sent = fork.Pipe(duplex=False)
  child = fork.Process(target=ended, args=(sent, work, *args))
  child.start()
  sent.close()
  before = {  # a Ctrl-C reaches the child by itself
      signum: signal.signal(signum, answer) for signum, answer in (
          (signal.SIGTERM, lambda *_: child.terminate()),
          (signal.SIGINT, lambda *_: None))}
  child.join()
  for signum, answer in before.items():
    signal.signal(signum, answer)
  if child.exitcode:
    sys.exit(child.exitcode if child.exitcode > 0 else 128 - child.exitcode)
  with contextlib.suppress(EOFError):  # of a child that became another program
    return result.recv()


def ended(sent, work, *args):
  with command.exit_codes(), user_errors():
    sent.send(work(*args))


def train_run(run: sweeps.SweepRun):
  """Becomes `train.py --workdir=FOLDER`, which finds its config there."""
  with locked(os.path.dirname(run.folder)):
    sources.prepare(run.config.data)  # by one of the jobs that start at once
  os.makedirs(run.folder, exist_ok=True)
  workdirs.save_config(run.folder, run.config)
  sys.stdout.flush()
  os.execv(sys.executable, [sys.executable, TRAIN, f'--workdir={run.folder}'])


def score_run(run: sweeps.SweepRun):
  """Writes scores/<step>.json for every average that a run kept."""
  folder = os.path.join(run.folder, 'scores')
  os.makedirs(folder, exist_ok=True)
  sweeps.score_run(
      run, lambda step, values: files.write_json(
          os.path.join(folder, f'{step}.json'), values),
      lambda line: print(line, flush=True))


def write_result(workdir: str, title: str, diffs, metric: str, unit: str, runs) -> str:
  """Writes table and plot of the runs that are done; returns the table."""
  from matplotlib import figure
  with locked(workdir):
    curves = {diff.name: {} for diff in diffs}
    with user_errors():
      for run in filter(sweeps.done, runs):
        for name, curve in sweeps.curves_of(run, metric).items():
          curves[name][run.config.seed] = curve
    rows = comparison.compare(curves)
    table = comparison.markdown(rows, metric, unit)
    files.write_text(os.path.join(workdir, 'table.md'), table)
    files.write_text(os.path.join(workdir, 'table.csv'),
                     comparison.as_csv(rows, metric))
    sheet = figure.Figure(layout='constrained')
    keys = list(dict.fromkeys(key for diff in diffs for key in diff.keys))
    groups = [tuple(repr([diff.keys.get(key) for key in some])
                    for some in (keys[:1], keys[1:])) for diff in diffs]
    comparison.plot(sheet, curves, groups, metric, unit, title)
    with files.atomic_write(os.path.join(workdir, 'plot.png')) as new:
      sheet.savefig(new, dpi=100, format='png')
  return table


def main(flag):
  c = options.needed_config(flag, 'those of configs/sweeps/')
  if importlib.util.find_spec('matplotlib') is None:
    raise UserError('the plot needs matplotlib: pip install matplotlib.')
  path = config_flags.get_config_filename(flag['config'])
  with user_errors():
    diffs, metric, seeds = sweeps.read_file(path)
  check_diffs(flag, diffs)
  unit = in_child(sweeps.check_metric, c, diffs, metric)
  with user_errors():
    runs = sweeps.plan(c, diffs, flag.seeds or seeds, flag.workdir or '')
  if flag.list:
    return print('\n'.join(f'{run.index:>4}  {run.name}' + (
        f', sampled in {len(run.diffs)} ways' * (len(run.diffs) > 1)) for run in runs))
  if not flag.workdir:
    raise UserError('--workdir=FOLDER is needed: it is made if it does not exist.')
  if flag.index is not None and not 0 <= flag.index < len(runs):
    raise UserError(f'--index={flag.index} is not one of the {len(runs)} runs, 0 to '
                    f'{len(runs) - 1}.')
  chosen = runs if flag.index is None else [runs[flag.index]]
  left = [run for run in chosen if not sweeps.done(run)]
  if left:
    in_child(sweeps.check_runs, left)
  resolve_workdir(flag.workdir, c, diffs, metric, runs)
  title = os.path.basename(path).removesuffix('.py')
  for run in left:
    print(f'run {run.index} of 0 to {len(runs) - 1}: {run.name}', flush=True)
    if not sweeps.trained(run):
      in_child(train_run, run)
    if not sweeps.trained(run):
      return print(f'stopped in run {run.index}; the same command goes on from here.')
    if len(run.diffs) > 1:
      in_child(score_run, run)
    write_result(flag.workdir, title, diffs, metric, unit, runs)
  print(write_result(flag.workdir, title, diffs, metric, unit, runs), end='')


if __name__ == '__main__':
  command.run(main, define_flags)
