"""Published models: exactly as large as they were published, and built by config."""
import math
import re

import jax
import jax.numpy as jnp
import pytest

import models
from models import layers
import papers
from published import MODELS
from training import mesh as meshes, optim, rules


@pytest.mark.parametrize('name', MODELS)
def test_a_published_model_has_its_published_size(name):
  """In bfloat16: parameters and what is predicted are float32 all the same."""
  model = MODELS[name]
  backbone = models.make(models.BACKBONES, model.fields, 'config.model',
                         channels=model.channels, dtype=jnp.bfloat16)
  backbone.check(model.size)
  shape, (length, width) = jax.ShapeDtypeStruct, model.text
  x = shape((1, model.size, model.size, model.channels), jnp.float32)
  out, variables = jax.eval_shape(
      backbone.init_with_output, jax.random.key(0), x, shape((1,), jnp.float32),
      shape((1, length, width), jnp.bfloat16), shape((1, length), bool),
      shape((1, model.pooled), jnp.bfloat16))
  leaves = jax.tree.leaves(variables['params'])
  if model.config and model.config.diffusion.learned_weight:
    leaves += jax.tree.leaves(layers.Uncertainty().init(
        jax.random.key(0), jnp.zeros(1)))
  assert sum(math.prod(p.shape) for p in leaves) == model.count
  assert {p.dtype for p in leaves} == {jnp.dtype('float32')}
  assert out.shape == (*x.shape[:3], model.fields.get('out', model.channels))
  assert out.dtype == jnp.float32
  places_and_axes_make_sense(variables['params'], model.count)
  if model.config:
    optim.check(model.config.optim, {'backbone': variables['params']})


def test_every_paper_is_counted():
  counted = [model.config.to_json(sort_keys=True) for model in MODELS.values()
             if model.config]
  assert sorted(counted) == sorted(papers.config(*paper).to_json(sort_keys=True)
                                   for paper in papers.PAPERS)


def places_and_axes_make_sense(params, count):
  """Nearly all is spread over a mesh, no scan over its blocks, kernels have inputs."""
  placed = meshes.shardings(meshes.make(1, 4, 2), params)
  spread = 0
  for name, p, sharding in zip(*map(jax.tree.leaves, (
      rules.names(params), params, placed))):
    shard = sharding.shard_shape(p.shape)
    spread += p.size * (math.prod(shard) * 4 <= p.size)
    if 'blocks/' in name:
      assert shard[0] == p.shape[0]
    if axes := optim.axes_of(name, p):
      first, split, end = axes
      assert first < split < end == p.ndim
      assert re.search(r'/(q|k|v)/', name) is None or p.shape[split:] == p.shape[-2:]
  assert spread > 0.95 * count
