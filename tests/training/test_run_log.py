"""metrics.jsonl stays whole, and a resumed run writes no step twice."""
import json

import numpy as np

from training import machine, run_log


def lines(folder):
  return [json.loads(line) for line in open(folder / 'metrics.jsonl', encoding='utf-8')]


def test_a_resumed_run_drops_what_it_is_about_to_log_again(tmp_path):
  log = run_log.Log(str(tmp_path), 100)
  for step in (10, 20, 30):
    log.scalars(step, {'loss': 1.0 / step, 'seconds': 100.0 * step})
  log.close()
  with open(tmp_path / 'metrics.jsonl', 'a', encoding='utf-8') as f:
    f.write('{"step": 40, "lo')  # killed while writing
  log = run_log.Log(str(tmp_path), 100, step=20)
  assert 2000 <= log.seconds() < 2010
  log.scalars(30, {'loss': 0.5})
  log.close()
  assert [(x['step'], x['loss']) for x in lines(tmp_path)] == [
      (10, 0.1), (20, 0.05), (30, 0.5)]


def test_a_loss_that_is_not_finite_is_null(tmp_path):
  log = run_log.Log(str(tmp_path), 10)
  log.scalars(1, {'loss': float('nan'), 'lr': 0.1})
  assert 'loss nan' in log.progress(1, {'loss': float('nan'), 'images_per_s': 3.0})
  assert lines(tmp_path) == [{'step': 1, 'loss': None, 'lr': 0.1}]


def test_progress_has_a_rate_and_the_time_left(tmp_path, monkeypatch):
  log, lines = run_log.Log(str(tmp_path), 100, step=20), []
  for step, gone in ((30, 60.0), (40, 70.0)):  # the first ten waited for the compiler
    monkeypatch.setattr(log, 'seconds', lambda gone=gone: gone)
    lines.append(log.progress(step, {'loss': 0.25, 'images_per_s': 99.6}))
  first, second = lines
  assert 'step 30/100' in first and '1:00 gone, ? left' in first
  assert 'step 40/100' in second and '100 images/s' in second
  assert '1:10 gone, 1:00 left' in second


def test_pictures_are_kept_by_step(tmp_path):
  log = run_log.Log(str(tmp_path), 10)
  path = log.picture(5, np.zeros((4, 4, 3), np.uint8))
  assert path == str(tmp_path / 'samples' / '5.png')
  assert [p.name for p in (tmp_path / 'samples').iterdir()] == ['5.png']


def test_each_start_is_recorded_and_those_taken_back_are_not(tmp_path):
  for step in (0, 0, 20, 40, 20):
    run_log.Log(str(tmp_path), 100, step=step).close()
  with open(machine.path_of(str(tmp_path)), encoding='utf-8') as f:
    starts = json.load(f)
  assert [start['step'] for start in starts] == [0, 0, 20]
  assert all(start['cores'] >= 1 and start['memory_gib'] > 0 for start in starts)
