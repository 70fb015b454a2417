"""What a run learns by: training.build makes the compiled step of a config."""
from training.build import Training, build

__all__ = ['Training', 'build']
