"""From config.eval to scores."""
import numpy as np

from configs import base
from evaluation.metrics import METRICS
from inference.generation import sample_request
from inference.requests import build_request


def build(c, generate=None) -> dict:
  """{name: Metric} of config.eval.metrics.

  Args:
    generate: (model, prompts, seed, progress) -> uint8 [m h w 3], a picture of each
      prompt, each of noise of its own; None for `pictures_of`.

  Raises:
    ValueError: a metric that is none, or makes no sense with this config.
  """
  for name in c.eval.metrics:
    if name not in METRICS:
      raise ValueError(f'config.eval.metrics has {name!r}, not one of '
                       f'{sorted(METRICS)}.')
  return {name: METRICS[name](c, generate or pictures_of) for name in c.eval.metrics}


def pictures_of(model, prompts, seed: int, progress=None) -> np.ndarray:
  """A picture of each prompt, of noise by its place among them: uint8 [m h w 3]."""
  c = model.config
  request = build_request(model.tokenizer, prompts, c.tokenizer.length,
                          base.height_width(c.data.size))
  return sample_request(model, request, np.arange(len(prompts)), seed=seed,
                        progress=progress and progress(len(prompts), 'pictures'))


def measure(metrics: dict, model, seed: int, progress=None) -> dict:
  """{name: Score} of all metrics."""
  found = {}
  for metric in metrics.values():
    found |= metric.measure(model, seed, progress)
  return found


def units(metrics: dict) -> dict:
  """{name of a score: unit} of all metrics."""
  return {name: unit for metric in metrics.values()
          for name, unit in metric.units.items()}
