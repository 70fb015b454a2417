"""The smallest of each kind that is more than a function, for test_extending.py."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from helpers import made
from models import Context, layers
from models.backbones.backbone import Backbone

PAPER = '''
from configs import paper

@paper.variants('small', 'large')
def get_config(size):
  c = paper.start()
  c.model.width = 64 if size == 'small' else 128
  return c
'''
SWEEP = '''
from helpers.tiny import tiny

METRIC, SEEDS = 'loss', 2

def get_config():
  return tiny('.')

def sweep():
  yield {}
  yield 'other', {'optim.name': 'lion', 'optim.lr': 1e-4}
'''


class Mixer(Backbone):
  """Each place by itself, moved by time and the summary of the condition."""
  channels: int = 3
  width: int = 8
  dtype: Any = jnp.float32
  reads, needs = frozenset({'pooled'}), frozenset({'pooled'})
  num_taps = 1

  @nn.compact
  def __call__(self, x, scalars, context, taps=()):
    self.check_call(scalars, context, taps)
    c = layers.embed_scalars(
        scalars, self.scalars, 'steps', lambda t: layers.sinusoids(t, 16),
        nn.Dense(self.width, name='time'), self.dtype)
    c = c + nn.Dense(self.width, name='pooled')(context.pooled)
    h = nn.silu(nn.Dense(self.width, name='in')(x) + c[:, None, None])
    out = nn.Dense(self.channels, name='out')(h).astype(jnp.float32)
    return (out, {0: h.reshape(len(h), -1, self.width)}) if taps else out

  def check(self, size):
    if self.width < 1:
      raise ValueError(f'config.model.width is {self.width}; it must be above 0.')


class Bag(nn.Module):
  """The mean of the tokens' vectors, without their order."""
  vocab: int
  width: int = 16
  dtype: Any = jnp.float32
  gives = frozenset({'pooled'})

  def check(self, vocab, length):
    assert vocab <= self.vocab and length > 0

  @nn.compact
  def __call__(self, tokens):
    seen = (tokens != 0)[..., None]
    x = nn.Embed(self.vocab, self.width, name='embed')(tokens)
    return Context(pooled=(x * seen).sum(1) / jnp.maximum(seen.sum(1), 1))


class Packed(nn.Module):
  """Pictures of half the size with four times the channels."""
  image_channels: int = 3
  dtype: Any = jnp.float32
  channels = property(lambda self: 4 * self.image_channels)
  factor = 2

  def check(self):
    """There is nothing to check."""

  def moments(self, x):
    return layers.space_to_depth(x, 2)

  def draw(self, moments, eps=None):
    return moments

  def decode(self, z):
    return layers.depth_to_space(z, 2)


class Colours:
  """Plain pictures, made as they are asked for."""
  problems = {}

  def __init__(self, c):
    self.name, self.count = 'colours', c.pictures

  def __len__(self):
    return self.count

  def __getitem__(self, i):
    return {'image': made.encoded(i), 'captions': self.captions(i)}

  def captions(self, i):
    return [made.caption(i)]

  def where(self, i):
    return f'colour {i}'
