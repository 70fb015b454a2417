"""The maths of diffusion and flow matching, and what builds it from a config."""
from diffusion.build import (
    Sampling, build, build_fill, build_loss_weight, build_sampling, build_time_sampling,
    build_vlb, check_sampling)
from diffusion.process import Process

__all__ = ['Process', 'Sampling', 'build', 'build_fill', 'build_loss_weight',
           'build_sampling', 'build_time_sampling', 'build_vlb', 'check_sampling']
