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
from training import augment, ema, optim, sharding, train_state, train_step
from training.objectives import OBJECTIVES, Given

INIT = 2**32 - 1  # folded into the seed for the first parameters; steps are below


class Training(NamedTuple):
  """Attributes:
    module: TextToImage.
    objective: of training.objectives.
    learning_rate: step -> rate.
    mesh: of devices.
    shapes, shardings: of the TrainState, without making it.
    batch_shapes: of a global batch.
    create: () -> the TrainState before the first step, each leaf where it is to lie.
    step: (state, batch, root key) -> (state, metrics); its first call compiles it.
  """
  module: Any
  objective: Any
  learning_rate: Callable
  mesh: Any
  shapes: Any
  shardings: Any
  batch_shapes: dict
  create: Callable
  step: Callable


def build(c, mesh, *, vocab: int | None = None, null_tokens=None) -> Training:
  """Everything of a training step that a config says; nothing is made or compiled.

  Args:
    vocab: tokens that the tokenizer has; None for config.tokenizer.vocab.
    null_tokens: int32[l] of the empty caption; None for zeros.

  Raises:
    ValueError: anything that could not be built or trained, by key.
  """
  sharding.check_batch(mesh, c.train.batch, c.train.accumulate)
  module = models.build(c, vocab)
  objective = build_objective(c, module, null_tokens)
  optimizer, learning_rate = optim.build(c.optim, c.train.steps)
  profiles = [specs.build(ema.PROFILES, spec, 'optim.ema') for spec in c.optim.ema]
  init = functools.partial(init_params, c, module, objective)
  optim.check(c.optim, jax.eval_shape(init, jax.random.key(0)))
  make = functools.partial(
      train_state.init_state, init, optimizer, averages=len(profiles),
      frozen=functools.partial(frozen_params, c, objective))
  key = jax.random.fold_in(jax.random.key(c.seed), INIT)
  shapes = jax.eval_shape(make, key)
  shardings = train_state.state_shardings(shapes, mesh)
  step = train_step.build_step(objective, optimizer, learning_rate, profiles,
                               accumulate=c.train.accumulate)
  return Training(
      module, objective, learning_rate, mesh, shapes, shardings, batch_shapes(c),
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
                d.learned_weight)
  return specs.build(OBJECTIVES, c.train.objective, 'train.objective', given=given)


def init_params(c, module, objective, key) -> dict:
  """First parameters: the model's, and those of the objective's further parts."""
  params = models.init_params(module, key, base.height_width(c.data.size),
                              c.tokenizer.length)
  return params | {name: part.init(params) for name, part in objective.parts.items()}


def frozen_params(c, objective, params):
  """A tree of bool: the parameters that are not trained."""
  frozen = optim.frozen(c.optim, params)
  for name, part in objective.parts.items():
    if not part.trained:
      frozen[name] = jax.tree.map(lambda _: True, frozen[name])
  return frozen


def averages_shapes(c, module, placed):
  """A TrainState of shapes in which `ema` and `frozen` alone are filled.

  placed: a sharding; where what is restored goes.
  """
  objective = build_objective(c, module)
  params = jax.eval_shape(functools.partial(init_params, c, module, objective),
                          jax.random.key(0))
  params = jax.tree.map(
      lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=placed), params)
  trained, frozen = train_state.partition(params, frozen_params(c, objective, params))
  return train_state.TrainState(None, None, (trained,) * len(c.optim.ema), None, None,
                                None, frozen)


def batch_shapes(c) -> dict:
  """Shapes of a global batch."""
  b, size = c.train.batch, base.height_width(c.data.size)
  return {'image': jax.ShapeDtypeStruct((b, *size, 3), jnp.uint8),
          'tokens': jax.ShapeDtypeStruct((b, c.tokenizer.length), jnp.int32),
          'sizes': jax.ShapeDtypeStruct((b, 6), jnp.float32)}
