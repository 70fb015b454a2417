"""Published models: exactly as large as they were published, and built by config."""
import math

import jax
import jax.numpy as jnp
import pytest

import models
from models import backbones, text_to_image
from models.build import build_module
from helpers import papers
from helpers.placement import places_and_axes_make_sense
from helpers.published import MODELS
from training import optim


@pytest.mark.parametrize('name', MODELS)
def test_a_published_model_has_its_published_size(name):
  """In bfloat16: parameters and what is predicted are float32 all the same."""
  model = MODELS[name]
  backbone = build_module(backbones.BACKBONES, model.fields, 'config.model',
                                channels=model.channels, dtype=jnp.bfloat16)
  backbone.check((model.size, model.size))
  x = jax.ShapeDtypeStruct((1, model.size, model.size, model.channels), jnp.float32)
  out, variables = jax.eval_shape(
      backbone.init_with_output, jax.random.key(0), x, models.Scalars(
          jax.ShapeDtypeStruct((1,), jnp.float32)), context_of(model, backbone))
  leaves = jax.tree.leaves(variables['params'])
  if model.config and model.config.diffusion.learned_weight:
    leaves += jax.tree.leaves(text_to_image.Uncertainty().init(
        jax.random.key(0), jnp.zeros(1)))
  assert sum(math.prod(p.shape) for p in leaves) == model.count
  assert {p.dtype for p in leaves} == {jnp.dtype('float32')}
  assert out.shape == (*x.shape[:3], model.fields.get('out_channels', model.channels))
  assert out.dtype == jnp.float32
  places_and_axes_make_sense(variables['params'], model.count)
  if model.config:
    optim.check(model.config.optim, {'backbone': variables['params']})


def context_of(model, backbone):
  """What it is told, as shapes: no more than it says that it reads."""
  shape, (length, width) = jax.ShapeDtypeStruct, model.text
  context = {'sizes': shape((1, 6), jnp.float32), 'augment': shape((1, 9), jnp.float32)}
  if length:
    context |= {'text': shape((1, length, width), jnp.bfloat16),
                'mask': shape((1, length), bool)}
  if model.pooled:
    context['pooled'] = shape((1, model.pooled), jnp.bfloat16)
  return models.Context(**{k: context.get(k) for k in backbone.reads})


def test_every_paper_is_counted():
  counted = [model.config.to_json(sort_keys=True) for model in MODELS.values()
             if model.config]
  assert sorted(counted) == sorted(papers.config(*paper).to_json(sort_keys=True)
                                   for paper in papers.PAPERS)
