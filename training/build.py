"""From a config to a training step: the one assembly, for train.py, plan.py, tests."""
import functools
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from configs import base
import diffusion
from diffusion import specs
import models
from training import (
    adapters, augment, controls, ema, optim, sharding, train_state, train_step)
from training.objectives import OBJECTIVES, Given

INIT = 2**32 - 1  # folded into the seed for the first parameters; steps are below


class Training(NamedTuple):
  """What a training step is made of, and the step; its first call compiles it."""
  module: Any              # TextToImage
  objective: Any           # of training.objectives
  learning_rate: Callable  # step -> rate
  mesh: Any                # of devices
  shapes: Any              # of the TrainState, without making it
  shardings: Any           # of the TrainState
  batch_shapes: dict       # of a global batch
  create: Callable         # () -> the first TrainState, each leaf where it is to lie
  step: Callable           # (state, batch, root key) -> (state, metrics)


def build(c, mesh, *, vocab: int | None = None, null_tokens=None) -> Training:
  """Everything of a training step that a config says; nothing is made or compiled.

  vocab: tokens that the tokenizer has; None for config.tokenizer.vocab. null_tokens:
  int32[l] of the empty caption; None for zeros. Raises ValueError for anything that
  could not be built or trained, by key.
  """
  sharding.check_batch(mesh, c.train.batch, c.train.accumulate)
  module = models.build(c, vocab)
  controls.check_training(c, module)
  objective = build_objective(c, module, null_tokens)
  optimizer, learning_rate = optim.build(c.optim, c.train.steps)
  profiles = [specs.build(ema.PROFILES, spec, 'optim.ema') for spec in c.optim.ema]
  init = functools.partial(init_params, c, module, objective)
  params = jax.eval_shape(init, jax.random.key(0))
  optim.check(c.optim, params)
  adapters.check(c.lora, params, frozen_params(c, objective, params))
  make = functools.partial(
      train_state.init_state, init, optimizer, averages=len(profiles),
      frozen=functools.partial(frozen_params, c, objective),
      frozen_dtype=c.optim.frozen_dtype, ema_dtype=c.optim.ema_dtype)
  key = jax.random.fold_in(jax.random.key(c.seed), INIT)
  shapes = jax.eval_shape(make, key)
  shardings = train_state.state_shardings(shapes, mesh)
  step = train_step.build_step(objective, optimizer, learning_rate, profiles,
                               steps=c.train.steps, accumulate=c.train.accumulate,
                               gather_once=c.train.gather_once)
  b, size = c.train.batch, base.height_width(c.data.size)
  batch_shapes = {'image': jax.ShapeDtypeStruct((b, *size, c.data.channels), jnp.uint8),
                  'tokens': jax.ShapeDtypeStruct((b, c.tokenizer.length), jnp.int32),
                  'sizes': jax.ShapeDtypeStruct((b, 6), jnp.float32)}
  return Training(
      module, objective, learning_rate, mesh, shapes, shardings, batch_shapes,
      lambda: jax.jit(make, out_shardings=shardings)(key),
      train_step.compile_step(step, shardings, mesh))


def build_objective(c, module, null_tokens=None):
  """The objective of a config: config.train.objective and config.diffusion."""
  if null_tokens is None:
    null_tokens = np.zeros(c.tokenizer.length, np.int32)
  d, process = c.diffusion, diffusion.build(c.diffusion)
  if d.augment and module.augment_labels != augment.LABELS:
    raise ValueError(f'config.diffusion.augment is {d.augment}; the network is to be '
                     f'told: config.model.augment_labels={augment.LABELS}, of a unet.')
  given = Given(module, null_tokens, process, diffusion.build_loss_weight(d, process),
                diffusion.build_time_sampling(d, process),
                diffusion.build_vlb(d, process), d.augment, d.caption_dropout,
                d.learned_weight, controls.build(d, module))
  objective = specs.build(OBJECTIVES, c.train.objective, 'train.objective', given=given)
  if odd := sorted(set(module.scalars) - set(objective.scalars)):
    raise ValueError(f'config.model.scalars has {odd}, of which config.train.objective '
                     f'{c.train.objective!r} tells the network nothing.')
  if c.lora.layers:
    objective = adapters.adapted(objective, c.lora,
                                 functools.partial(model_params, c, module))
  return objective


def model_params(c, module, key) -> dict:
  """First parameters of the model."""
  return models.init_params(module, key, base.height_width(c.data.size),
                            c.tokenizer.length)


def init_params(c, module, objective, key) -> dict:
  """First parameters: the model's, and those of the objective's further parts."""
  params = model_params(c, module, key)
  return params | {name: part.init(jax.random.fold_in(key, i), params)
                   for i, (name, part) in enumerate(objective.parts.items())}


def drawn_params(objective, params) -> dict:
  """What pictures are drawn with: the model's of all parameters, further parts folded
  into them or left out."""
  of_model = {name: p for name, p in params.items() if name not in objective.parts}
  for name, part in objective.parts.items():
    if part.fold:
      of_model = part.fold(of_model, params[name])
  return of_model


def frozen_params(c, objective, params):
  """A tree of bool: the parameters that are not trained."""
  frozen = optim.frozen(c.optim, params)
  for name, part in objective.parts.items():
    if not part.trained:
      frozen[name] = jax.tree.map(lambda _: True, frozen[name])
  return frozen


def averages_shapes(c, module, placed):
  """A TrainState of shapes, `ema` and `frozen` alone, with the sharding `placed`."""
  objective = build_objective(c, module)
  params = jax.eval_shape(functools.partial(init_params, c, module, objective),
                          jax.random.key(0))
  params = jax.tree.map(
      lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=placed), params)
  trained, frozen = train_state.partition(params, frozen_params(c, objective, params),
                                          c.optim.frozen_dtype)
  trained = jax.tree.map(lambda s: s.update(dtype=jnp.dtype(c.optim.ema_dtype)),
                         trained)
  return train_state.TrainState(None, None, (trained,) * len(c.optim.ema), None, None,
                                None, frozen)
