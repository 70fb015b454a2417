"""Objectives by name: config.train.objective. A new one is a file here and a row."""
from training.objectives.consistency import consistency
from training.objectives.denoising import denoising
from training.objectives.dispersive import dispersive
from training.objectives.guidance_distillation import guidance_distillation
from training.objectives.objective import Given, Objective, Part

OBJECTIVES = {  # (given, **options) -> Objective
    'denoising': denoising, 'dispersive': dispersive, 'consistency': consistency,
    'guidance_distillation': guidance_distillation}

__all__ = ['OBJECTIVES', 'Given', 'Objective', 'Part']
