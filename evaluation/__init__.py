"""How good pictures are: evaluation.build(config) gives the metrics of config.eval."""
from evaluation.build import build, higher_is_better, measure, measure_all, needed
from evaluation.build import planned, units

__all__ = ['build', 'higher_is_better', 'measure', 'measure_all', 'needed', 'planned',
           'units']
