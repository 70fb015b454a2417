"""What a run logs arrives at each tracker, offline; what fails ends no run."""
import errno
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from console.errors import UserNote
from helpers.commands import ROOT
from helpers.tiny import tiny
from training import run_log, trackers

GRID = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
SCALARS = {'loss': 0.5, 'accuracy/one_object': 0.25, 'bad/not a picture': 3}
REPORT = '<!doctype html><title>the report</title>'
LOGS = """
import sys
import numpy as np
from helpers.tiny import tiny
from training import run_log, trackers
workdir, spec = sys.argv[1:]
c = tiny('data')
c.train.trackers = (spec,)
trackers.check(c.train.trackers)
for first in (0, 4):  # a run that goes on
  log = run_log.Log(workdir, 9, first, track=trackers.Trackers(c, workdir, first))
  log.scalars(first + 2, {'loss': 0.5, 'accuracy/one_object': 0.25,
                          'bad/not a picture': 3, 'nothing': float('nan')})
  log.picture(first + 2, np.arange(60, dtype=np.uint8).reshape(4, 5, 3))
  log.page(f'{workdir}/report.html')
  log.close()
"""


def logged(tmp_path, spec: str):
  """Logs two starts of a run to a tracker, in a process and a home of its own."""
  name = spec.partition('(')[0]
  if importlib.util.find_spec(name) is None:
    pytest.skip(f'pip install {name}')
  workdir = tmp_path / 'run'
  workdir.mkdir()
  (workdir / 'report.html').write_text(REPORT)
  done = subprocess.run(
      [sys.executable, '-c', LOGS, workdir, spec], capture_output=True, text=True,
      cwd=tmp_path, timeout=300, env=os.environ | {
          'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests'),
                                         os.environ.get('PYTHONPATH', '')]),
          'HOME': str(tmp_path), 'TRACKIO_DIR': str(tmp_path / 'trackio'),
          'WANDB_SILENT': 'true', 'JAX_PLATFORMS': 'cpu'})
  assert done.returncode == 0 and 'left out' not in done.stderr, done.stderr
  return workdir


def events(folder):
  """Records of TensorBoard's files: length, its sum, data, its sum."""
  for path in sorted(folder.iterdir()):
    data, at = path.read_bytes(), 0
    while at < len(data):
      length = int.from_bytes(data[at:at + 8], 'little')
      yield event_pb2.Event.FromString(data[at + 12:at + 12 + length])
      at += 12 + length + 4


def test_tensorboard(tmp_path):
  workdir = tmp_path / 'run'
  workdir.mkdir()
  c = tiny('data')
  log = run_log.Log(str(workdir), 9, track=trackers.Trackers(c, str(workdir), 0))
  log.scalars(2, SCALARS | {'nothing': float('inf')})
  log.picture(2, GRID)
  log.page('report.html')
  log.close()
  values = [(event.step, value) for event in events(workdir / 'tensorboard')
            for value in event.summary.value]
  scalars = {value.tag: value.simple_value for step, value in values if step == 2
             and value.HasField('simple_value')}
  assert {name.replace('_', ' '): value for name, value in scalars.items()} == {
      name.replace('_', ' '): value for name, value in SCALARS.items()}
  images = [value.image for _, value in values if value.HasField('image')]
  assert [(x.height, x.width) for x in images] == [(4, 5)]
  texts = b' '.join(value.tensor.string_val[0] for _, value in values
                    if value.tensor.string_val)
  assert b'train.steps: 8' in texts and b'report.html' in texts


def test_wandb_offline(tmp_path):
  workdir = logged(tmp_path, "wandb(project='shapes', mode='offline')")
  runs = sorted((workdir / 'wandb').glob('offline-run-*'))
  name = json.loads((workdir / 'trackers.json').read_text())['wandb']
  assert runs and all(run.name.endswith(name) for run in runs)
  data = b''.join(path.read_bytes() for run in runs for path in run.glob('*.wandb'))
  for part in (b'accuracy/one_object', b'bad/not a picture', b'optim', b'shapes'):
    assert part in data, part
  assert b'nothing' not in data
  kept = [path for run in runs for path in run.rglob('*') if path.is_file()]
  assert sum(path.suffix == '.png' for path in kept) == 2
  assert any(path.suffix == '.html' and REPORT in path.read_text() for path in kept)


def test_trackio(tmp_path):
  workdir = logged(tmp_path, "trackio(project='shapes')")
  name = json.loads((workdir / 'trackers.json').read_text())['trackio']
  import sqlite3
  (path,) = (tmp_path / 'trackio').glob('*.db')
  with sqlite3.connect(path) as base:
    rows = list(base.execute('SELECT run_name, step, metrics FROM metrics ORDER BY id'))
  assert {row[0] for row in rows} == {name}
  found = [(step, json.loads(values)) for _, step, values in rows]
  assert [(step, x['loss'], x['bad/not a picture']) for step, x in found
          if 'loss' in x] == [(2, 0.5, 3), (6, 0.5, 3)]
  assert [step for step, x in found if 'samples' in x] == [2, 6]
  kept = [path for path in (tmp_path / 'trackio').rglob('*') if path.is_file()]
  assert sum(path.suffix == '.png' for path in kept) == 2
  assert any(path.suffix == '.html' and REPORT in path.read_text() for path in kept)


def test_mlflow(tmp_path):
  workdir = logged(tmp_path, "mlflow(experiment='shapes')")
  from mlflow import MlflowClient
  client = MlflowClient(f'sqlite:///{workdir}/mlflow.db')
  (run,) = client.search_runs([client.get_experiment_by_name('shapes').experiment_id])
  assert run.info.run_name == 'run' and run.info.status == 'FINISHED'
  for name, value in SCALARS.items():
    history = client.get_metric_history(run.info.run_id, name)
    assert [(x.step, x.value) for x in history] == [(2, value), (6, value)]
  there = {path.name: path for path in (workdir / 'mlflow').rglob('*')
           if path.is_file()}
  assert there['report.html'].read_text() == REPORT
  assert {'2.png', '6.png', 'config.json'} <= there.keys()


# What is refused, and what fails.

def test_what_is_no_tracker_is_refused(monkeypatch):
  for chosen, message in (
      (('tensorbored',), 'not one of'), (('wandb(project=1)',), 'must be like'),
      (('wandb(colour="red")',), 'no option'), ('tensorboard', 'must be names'),
      (('tensorboard', 'tensorboard'), 'each once'), ((7,), 'train.trackers')):
    with pytest.raises((ValueError, TypeError), match=message):
      trackers.check(chosen)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  for name in trackers.NEED_PACKAGE:
    with pytest.raises(ValueError, match=f'pip install {name}'):
      trackers.check(('tensorboard', name))
  trackers.check(('tensorboard',))
  trackers.check(())


def toy(told, fails=None):
  def row(given, *, size: int = 1):
    def call(what):
      def work(*values):
        if what == fails:
          raise fails_with
        told.append((what, size, *values))
      return work
    fails_with = RuntimeError('the network\nis down')
    return trackers.Tracker(*map(call, trackers.Tracker._fields))
  return row


def test_a_tracker_that_fails_is_left_out_and_the_others_go_on(tmp_path, monkeypatch):
  good, bad = [], []
  monkeypatch.setitem(trackers.TRACKERS, 'good', toy(good))
  monkeypatch.setitem(trackers.TRACKERS, 'bad', toy(bad, 'picture'))
  c = tiny('data')
  c.train.trackers = ('bad', 'good(size=3)')
  log = run_log.Log(str(tmp_path), 9, track=trackers.Trackers(c, str(tmp_path), 0))
  log.scalars(1, {'loss': 1.0})
  with pytest.warns(UserNote, match="'bad', which failed .*: the network is down"):
    log.picture(1, GRID)
  log.scalars(2, {'loss': 0.5, 'odd': float('nan')})
  log.close()
  assert [x[:3] for x in bad] == [('scalars', 1, 1)]
  assert [x[:3] for x in good] == [('scalars', 3, 1), ('picture', 3, 1),
                                   ('scalars', 3, 2), ('close', 3)]
  assert good[2][3] == {'loss': 0.5}


def test_a_full_disk_is_no_matter_of_a_tracker(tmp_path, monkeypatch):
  def row(given):
    def full(*values):
      raise OSError(errno.ENOSPC, 'No space left on device', 'board')
    return trackers.Tracker(full, full, full, full)
  monkeypatch.setitem(trackers.TRACKERS, 'full', row)
  c = tiny('data')
  c.train.trackers = ('full',)
  with pytest.raises(OSError, match='No space'):
    trackers.Trackers(c, str(tmp_path), 0)('scalars', 1, {})


def test_one_that_cannot_be_begun_is_a_value_error(tmp_path, monkeypatch):
  def row(given):
    raise RuntimeError('no key')
  monkeypatch.setitem(trackers.TRACKERS, 'locked', row)
  c = tiny('data')
  c.train.trackers = ('locked',)
  with pytest.raises(ValueError, match="'locked', which cannot be begun: no key"):
    trackers.Trackers(c, str(tmp_path), 0)


def test_a_run_is_known_by_the_same_name_when_it_goes_on(tmp_path):
  first = trackers.identity(str(tmp_path), 'wandb')
  assert first == trackers.identity(str(tmp_path), 'wandb')
  assert first != trackers.identity(str(tmp_path), 'mlflow')
  assert first.startswith(f'{tmp_path.name}-')
