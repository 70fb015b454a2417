"""Averages that a run stored along the way: one after another, or made into another."""
import os

import jax
import jax.numpy as jnp

from console import files
from diffusion import specs
from inference.loading import Model
from training import checkpoint, ema, sharding, train_state
from training.build import (
    averages_shapes, build_objective, drawn_params, frozen_params)


def stored_steps(workdir: str) -> list[int]:
  """Steps at which a run has stored its averages, in order."""
  folder = os.path.join(workdir, 'averages')
  if not os.path.isdir(folder):
    return []
  return sorted(int(name) for name in os.listdir(folder) if name.isdigit())


def restored(model: Model, workdir: str, step: int, folder: str = 'averages') -> tuple:
  """All parameters by each average of a step. Raises ValueError if they cannot be read.
  """
  c = model.config
  shapes = averages_shapes(c, model.module, sharding.replicated(model.mesh))
  stored = checkpoint.Checkpoints(workdir, folder, read_only=True)
  found = stored.restore_ema(shapes, [step])
  if found is None:
    raise ValueError(f'{workdir}: the averages of step {step} cannot be read.')
  return found[1]


def load_averages(model: Model, workdir: str, step: int,
                  folder: str = 'averages') -> tuple:
  """What pictures are drawn with, by each average of a step: `restored`."""
  objective = build_objective(model.config, model.module)
  return tuple(drawn_params(objective, params)
               for params in restored(model, workdir, step, folder))


def best_ema(model: Model, workdir: str) -> Model:
  """A model with the averages of a run's best step: config.eval.best.

  Raises ValueError for a run that has kept none.
  """
  path = os.path.join(workdir, checkpoint.Best.FILE)
  if not os.path.exists(path):
    raise ValueError(f'--best needs a run with config.eval.best; {workdir} has kept '
                     'none.')
  found = files.read_json(path)
  params = load_averages(model, workdir, found['step'], checkpoint.Best.FOLDER)[0]
  return model.replace(params=params, source=f'step {found["step"]}, best '
                       f'{found["score"]}')


def posthoc_ema(model: Model, workdir: str, std: float) -> Model:
  """A model with the average of another width, made from stored ones: training.ema.

  Raises ValueError for a run that has stored none, or of other profiles.
  """
  widths = [getattr(specs.build(ema.PROFILES, spec, 'optim.ema'), 'std', None)
            for spec in model.config.optim.ema]
  steps = stored_steps(workdir)
  if None in widths or not steps:
    raise ValueError(f'--ema needs a run with config.train.averages_every above 0 and '
                     f'config.optim.ema of power profiles alone; {workdir} has '
                     f'{len(steps)} stored averages of {list(model.config.optim.ema)}.')
  share = ema.solve_posthoc(
      [(step, width) for step in steps for width in widths], steps[-1], std)
  c, total = model.config, None
  objective = build_objective(c, model.module)
  for step, some in zip(steps, share.reshape(len(steps), len(widths))):
    for weight, params in zip(some, restored(model, workdir, step)):
      # What is frozen is itself, not a sum of itself.
      trained, frozen = train_state.partition(
          params, frozen_params(c, objective, params))
      total = total or jax.tree.map(lambda x: jnp.zeros(x.shape), trained)
      total = jax.tree.map(lambda x, y, w=weight: x + w * y, total, trained)
  params = drawn_params(objective, train_state.combine(total, frozen))
  return model.replace(params=params,
                       source=f'step {steps[-1]}, power(std={std})')
