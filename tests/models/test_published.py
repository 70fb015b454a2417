"""Published models: exactly as large as they were published, and built by config."""
import math

import jax
import jax.numpy as jnp
import pytest

import models
from published import MODELS


@pytest.mark.parametrize('name', MODELS)
def test_a_published_model_has_its_published_size(name):
  """In bfloat16: parameters and what is predicted are float32 all the same."""
  model = MODELS[name]
  backbone = models.make(models.BACKBONES, model.fields, 'config.model',
                         dtype=jnp.bfloat16)
  backbone.check(model.size)
  shape, (length, width) = jax.ShapeDtypeStruct, model.text
  x = shape((1, model.size, model.size, model.channels), jnp.float32)
  out, variables = jax.eval_shape(
      backbone.init_with_output, jax.random.key(0), x, shape((1,), jnp.float32),
      shape((1, length, width), jnp.bfloat16), shape((1, length), bool),
      shape((1, model.pooled), jnp.bfloat16))
  leaves = jax.tree.leaves(variables['params'])
  assert sum(math.prod(p.shape) for p in leaves) == model.count
  assert {p.dtype for p in leaves} == {jnp.dtype('float32')}
  assert out.shape == (*x.shape[:3], model.fields.get('out', model.channels))
  assert out.dtype == jnp.float32
