"""A feature network without weights to fetch, and a model to be scored by it."""
import jax
import jax.numpy as jnp
import numpy as np

from evaluation import features, gathering
from helpers.tiny import DIT, tiny
from inference.loading import Model
import models
from training import sharding

OUTPUTS = {'pool': 6, 'logits': 4, 'spatial': 6}


def load(name: str, path=None, preprocessing=None) -> features.FeatureNetwork:
  """As features.load; other names give other projections, of any preprocessing."""
  del path
  seed = sum(map(ord, name))
  params = {output: np.random.default_rng(seed).normal(size=(48, width)).astype(
      np.float32) for output, width in OUTPUTS.items()}
  def preprocess(pictures):
    b, h, w, _ = pictures.shape
    small = pictures.reshape(b, 4, h // 4, 4, w // 4, 3).mean((2, 4))
    return small.reshape(b, 48).astype(np.float32) / 255
  def apply(params, x):
    return {output: jnp.tanh(x @ matrix) for output, matrix in params.items()}
  return features.FeatureNetwork(name, OUTPUTS, preprocess, apply, params, f'{seed:x}',
                                 preprocessing or 'mean')


def forget():
  """What was read and compiled of networks."""
  gathering.network.cache_clear()
  gathering.extractor.cache_clear()


def installed(monkeypatch):
  """A fixture: all names are of toys."""
  monkeypatch.setattr(features, 'load', load)
  forget()
  yield
  forget()


def scored_config(folder: str):
  """A config of a very small transformer that is scored by five metrics."""
  c = tiny(folder)
  c.model = dict(DIT)
  c.model.dtype = 'float32'
  c.sample.update(dict(solver='ddim', steps=2, batch=3))
  c.eval.update(dict(num=50, split='train', metrics=(
      'fid', 'kid(size=8,subsets=5)', 'precision_recall', 'density_coverage',
      'inception_score(splits=3)')))
  return c


def model_of(c, tokenizer, devices: int = 1) -> Model:
  """A model of random parameters."""
  module = models.build(c, tokenizer.get_vocab_size())
  shapes = models.param_shapes(module, (16, 16), c.tokenizer.length)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda p: np.float32(0.2 * rng.normal(size=p.shape)), shapes)
  mesh = sharding.make_mesh(devices=jax.devices()[:devices])
  return Model(c, tokenizer, module, jax.device_put(params, sharding.replicated(mesh)),
               mesh, 'random')
