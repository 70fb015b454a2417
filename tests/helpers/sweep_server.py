"""As helpers.server, for sweeps: all but those in a folder `real` train by fake_train.

A picture's brightness stands for prompt accuracy in real ones, which is 0 after so few
steps.
"""
import importlib
import pathlib
import sys

import numpy as np

from evaluation import metrics, scores
from helpers import server
import sweep


def brightness():
  """A metric whose score is the mean grey level of two pictures."""
  def measure(run):
    value = float(run.generate(run.model, ['a red ring'] * 2, run.seed).mean())
    return {'accuracy/one_object': scores.Score(value, None, None, 2)}
  return scores.Metric({'accuracy/one_object': '%'}, measure)


def fake_or_real(run, real=sweep.train_run):
  if f'{pathlib.os.sep}real{pathlib.os.sep}' not in run.folder:
    sweep.TRAIN = str(pathlib.Path(__file__).with_name('fake_train.py'))
  real(run)


if __name__ == '__main__':
  metrics.METRICS['prompt_accuracy'] = brightness
  sweep.train_run = fake_or_real
  for module in sys.argv[1:]:
    importlib.import_module(module)
  assert np  # imported before the forks
  server.serve(sys.stdin, sys.stdout)
