"""Objectives by name: config.train.objective. A new one is a file here and a row."""
from training.objectives.consistency import consistency
from training.objectives.consistency_distillation import consistency_distillation
from training.objectives.denoising import denoising
from training.objectives.dispersive import dispersive
from training.objectives.ect import ect
from training.objectives.guidance_distillation import guidance_distillation
from training.objectives.ict import ict
from training.objectives.meanflow import meanflow
from training.objectives.objective import Given, Objective, Part
from training.objectives.progressive_distillation import progressive_distillation
from training.objectives.reflow import reflow
from training.objectives.scm import scm
from training.objectives.shortcut import shortcut

OBJECTIVES = {  # (given, **options) -> Objective
    'denoising': denoising, 'dispersive': dispersive, 'consistency': consistency,
    'ict': ict, 'ect': ect, 'scm': scm, 'meanflow': meanflow, 'shortcut': shortcut,
    'consistency_distillation': consistency_distillation,
    'progressive_distillation': progressive_distillation, 'reflow': reflow,
    'guidance_distillation': guidance_distillation}

__all__ = ['OBJECTIVES', 'Given', 'Objective', 'Part']
