"""Flax Linen models, built by name from a config."""
from models.build import build
from models.context import Context, Scalars
from models.text_to_image import init_params, param_shapes

__all__ = ['Context', 'Scalars', 'build', 'init_params', 'param_shapes']
