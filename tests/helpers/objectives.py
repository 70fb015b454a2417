"""Objectives of models that are plain functions."""
import jax
import jax.numpy as jnp
import numpy as np

import diffusion
from diffusion import specs, time_sampling
from helpers.tiny import tiny
from models import Context
from training.objectives import OBJECTIVES, Given

B, KEY = 6, jax.random.key(0)
EVEN = jnp.ones(time_sampling.BINS)


class Fake:
  """A model whose parts are plain functions; what `told` is it hands to `network`.

  network: (params, x, scalars, context) -> a prediction of x0, and taps.
  """
  scalars, num_taps, augment_labels, learns_variance = ('guidance', 's'), 3, 0, False

  def __init__(self, network):
    self.network = network

  def latent_shape(self, size):
    return *size, 3

  def apply(self, variables, *args, method, rngs=None):
    return getattr(self, method)(variables['params'], *args)

  def to_latents(self, params, x, eps):
    return x

  def encode(self, params, tokens, sizes):
    return Context(pooled=tokens[:, 1].astype(jnp.float32))

  def predict(self, params, x, scalars, context, taps=()):
    pred, tapped = self.network(params, x, scalars, context)
    return (pred, {i: tapped for i in taps}) if taps else pred


def objective_of(network, spec, schedule='flow', **how):
  """The objective of that network for x0, on that schedule; each error of x0 alike.
  how: further keys of config.diffusion."""
  c = tiny('unused')
  c.diffusion.update(dict(schedule=schedule, target='x0', loss_weight='x0',
                          time_sampling='uniform', caption_dropout=0.5) | how)
  built = diffusion.build(c.diffusion)
  given = Given(Fake(network), np.array([1, 3]), built,
                diffusion.build_loss_weight(c.diffusion, built),
                diffusion.build_time_sampling(c.diffusion, built), None, 0.0,
                c.diffusion.caption_dropout, False)
  return specs.build(OBJECTIVES, spec, 'train.objective', given=given)


def batch_of(same: bool = False):
  rng = np.random.default_rng(1)
  image = rng.integers(0, 256, (1 if same else B, 4, 4, 3), np.uint8)
  tokens = np.stack([np.ones(B), rng.integers(2, 9, B)], 1).astype(np.int32)
  return {'image': np.broadcast_to(image, (B, 4, 4, 3)), 'tokens': tokens,
          'sizes': np.zeros((B, 6), np.float32)}


def terms_of(objective, params, batch, ema=None, progress=1.0):
  """(terms as means, gradients to the parameters, what was drawn)."""
  drawn = objective.draw(KEY, batch['image'].shape, EVEN, progress)
  def total(params):
    terms, _ = objective.loss(params, ema or params, batch, drawn)
    terms = {name: term.mean() for name, term in terms.items()}
    return sum(terms.values()), terms
  (_, terms), grads = jax.value_and_grad(total, has_aux=True)(params)
  return terms, grads, drawn


def x0_of(batch):
  return batch['image'] / 127.5 - 1
