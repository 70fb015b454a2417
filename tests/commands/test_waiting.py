"""What the host waits for in a run, what it traces of it, and what it says of time."""
import collections
import gzip
import json
import types

import jax
from jax._src import array
from ml_collections import ConfigDict
import pytest

from data import loader
from evaluation import chips, planning
from helpers.tiny import DIT, tiny
import train
import training
from training import run_log, sharding


@pytest.fixture(scope='module')
def root(tmp_path_factory):
  return tmp_path_factory.mktemp('waiting')


def run(root, name, debug_nans=False, **keys):
  """A run of 12 steps, in this process; returns its workdir."""
  c = tiny(str(root / 'data'))
  c.model, c.mesh.data = ConfigDict(DIT), 1
  c.train.update(dict(steps=12, log_every=4, checkpoint_every=8, sample_every=0) | keys)
  train.train(types.SimpleNamespace(config=c, workdir=str(root / name),
                                    debug_nans=debug_nans))
  return root / name


def fetches(monkeypatch, *args, **kwargs) -> set[int]:
  """The steps after whose dispatch the host fetched something, or waited."""
  steps, given = collections.Counter(), [0]
  def counted(function):
    def call(*args, **kwargs):
      steps[given[0]] += 1
      return function(*args, **kwargs)
    return call
  def following(batches, then=loader.Batches.__next__):
    given[0] = batches.given + 1
    return then(batches)
  monkeypatch.setattr(loader.Batches, '__next__', following)
  for where, name in ((jax, 'device_get'), (jax, 'block_until_ready'),
                      (array.ArrayImpl, 'block_until_ready')):
    monkeypatch.setattr(where, name, counted(getattr(where, name)))
  monkeypatch.setattr(array.ArrayImpl, '_value',
                      property(counted(array.ArrayImpl._value.fget)))
  run(*args, **kwargs)
  return {step for step in steps if 0 < step}


def test_the_host_waits_only_to_log(root, monkeypatch):
  assert fetches(monkeypatch, root, 'waits') == {4, 8, 12}


@pytest.mark.long
def test_where_every_step_is_to_be_waited_for_it_is(root, monkeypatch):
  assert fetches(monkeypatch, root, 'each', debug_nans=True) == set(range(1, 13))


def test_what_moves_unasked_ends_the_run(root, monkeypatch):
  """A batch that the step itself would have to send to the devices."""
  monkeypatch.setattr(sharding, 'shard_local', lambda batch, mesh: batch)
  with pytest.raises(Exception, match='Disallowed host-to-device transfer'):
    run(root, 'moves')


def test_a_profile_has_the_steps_that_were_asked_for_and_the_log_the_time(root):
  workdir = run(root, 'profiled', profile=(6, 8))
  (trace,) = workdir.glob('tensorboard/plugins/profile/*/*.xplane.pb')
  steps = [dict(event.stats)['step_num']
           for plane in jax.profiler.ProfileData.from_file(str(trace)).planes
           for line in plane.lines for event in line.events if event.name == 'train']
  assert sorted(steps) == [6, 7, 8]
  assert gzip.decompress((workdir / 'memory.0.pprof').read_bytes())
  lines = [json.loads(line) for line in open(workdir / 'metrics.jsonl')]
  assert all(line['tflops_per_device'] > 0 and line['wait_data_s'] > 0
             for line in lines)
  assert 'mfu' not in lines[0]  # nobody states what this processor can do
  assert lines[-1]['wait_checkpoint_s'] > 0  # of step 8


def test_speed_is_counted_between_logs_without_pauses(tmp_path, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(run_log.time, 'monotonic', lambda: now[0])
  log = run_log.Log(str(tmp_path), 10, writes=False)
  def wait(seconds):
    now[0] += seconds
  with log.waiting('data'):
    wait(1.0)
  wait(3.0)
  with log.pausing(), log.waiting('checkpoint'):
    wait(7.0)
  assert log.speed(8, 5, 1e12, 4e12) == {
      'images_per_s': 10.0, 'seconds': 4.0, 'tflops_per_device': 2.0, 'mfu': 0.5,
      'wait_data_s': 1.0, 'wait_checkpoint_s': 7.0}
  wait(2.0)
  assert log.speed(1, 5, 1e12, None) == {
      'images_per_s': 2.5, 'seconds': 6.0, 'tflops_per_device': 0.5,
      'wait_data_s': 0.0, 'wait_checkpoint_s': 0.0}


@pytest.mark.parametrize('kind, chip', [
    ('TPU v5 lite', 'v5e'), ('TPU v5e', 'v5e'), ('TPU v5', 'v5p'), ('TPU v5p', 'v5p'),
    ('TPU v6 lite', 'v6e'), ('NVIDIA H100 80GB HBM3', 'h100'), ('NVIDIA H200', 'h200'),
    ('NVIDIA A100-SXM4-80GB', 'a100'), ('cpu', None), ('TPU v4', None)])
def test_a_device_is_known_by_what_jax_calls_it(kind, chip):
  assert chips.peak_flops(kind) == (chip and chips.CHIPS[chip].flops)


def test_products_are_those_of_the_model_however_it_is_run(tmp_path):
  """Of one device, of many that add up their own gradients, and without what is done
  again."""
  def flops(mesh=(1, 1, 1), remat='none', accumulate=1):
    c = tiny(str(tmp_path))
    c.model, c.train.batch = ConfigDict(DIT | {'remat': remat}), 16
    c.train.accumulate = accumulate
    built = training.build(c, sharding.make_mesh(*mesh))
    key = jax.eval_shape(lambda: jax.random.key(0))
    return planning.model_flops(c, built, built.shapes, built.batch_shapes, key)
  one = flops()
  assert one > 0 and one == flops(remat='full')
  assert one == flops((2, 2, 2), accumulate=2)
