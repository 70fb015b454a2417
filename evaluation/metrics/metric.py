"""What a metric is."""
from typing import NamedTuple
from collections.abc import Callable


class Metric(NamedTuple):
  """Attributes:
    units: {name of a score: its unit, '%' or another}: what it measures.
    measure: (model, seed, progress) -> {name: Score}. model: inference.Model, whose
      config.sample and config.eval count. progress: None, or a function that makes one
      of (total, unit), as console.Progress.
  """
  units: dict
  measure: Callable
