"""Published models: exactly as large as they were published, and built by config."""
import math

import jax
import jax.numpy as jnp
import pytest

import models
from published import MODELS


def shapes_of(model):
  """Shapes of the parameters of a Model of published.py."""
  backbone = models.make(models.BACKBONES, model.fields, 'config.model')
  backbone.check(model.size)
  shape = jax.ShapeDtypeStruct
  length, width = model.text
  return jax.eval_shape(
      backbone.init, jax.random.key(0),
      shape((1, model.size, model.size, model.channels), jnp.float32),
      shape((1,), jnp.float32), shape((1, length, width), jnp.float32),
      shape((1, length), bool), shape((1, model.pooled), jnp.float32))['params']


@pytest.mark.parametrize('name', MODELS)
def test_a_published_model_has_its_published_size(name):
  shapes = shapes_of(MODELS[name])
  assert sum(math.prod(p.shape) for p in jax.tree.leaves(shapes)) == MODELS[name].count
