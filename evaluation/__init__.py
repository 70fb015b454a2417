"""How good pictures are: evaluation.build(config) gives the metrics of config.eval."""
from evaluation.build import build, measure, units

__all__ = ['build', 'measure', 'units']
