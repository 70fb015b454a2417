"""What an objective is, and what most of them do alike.

All that is random in a step is drawn first, for the whole batch: so it does not depend
on devices, hosts or accumulation, and the loss is a pure function of what was drawn.
"""
import functools
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp

from models import Scalars
from training import augment


class Given(NamedTuple):
  """What objectives are made of.

  Attributes:
    module: TextToImage.
    null_tokens: int32[l], the tokens of the empty caption.
    process, loss_weight, sample_times, vlb: of diffusion.build and its kin.
    augment, caption_dropout, learned_weight: of config.diffusion.
  """
  module: Any
  null_tokens: Any
  process: Any
  loss_weight: Callable
  sample_times: Callable
  vlb: Callable | None
  augment: float
  caption_dropout: float
  learned_weight: bool


class Part(NamedTuple):
  """Parameters that an objective keeps beside the model's: a teacher, a fake score.

  Attributes:
    init: the model's first parameters -> those of this part.
    trained: whether they have gradients; if not, they stay as they are, and a run needs
      a row of config.init_from for them.
  """
  init: Callable
  trained: bool = False


class Objective(NamedTuple):
  """Attributes:
    draw: (key, (b, h, w, c) of the pictures, loss_ema) -> a tree of arrays [b ...]: all
      that is random in a step.
    loss: (params, ema, batch, drawn) -> (terms, seen). params, ema: all parameters and
      their first average, frozen ones and further parts included; gradients are taken
      to `params`. terms: {name: f32[b]}, whose sum is minimised. seen: {'t', 'loss'},
      f32[b] each: the loss by time, as it is logged and followed.
    parts: {name: Part}.
  """
  draw: Callable
  loss: Callable
  parts: dict = {}


def draw_inputs(given: Given, key, shape, loss_ema) -> dict:
  """{'t': f32[b], 'importance': f32[b], 'eps': f32[b *latent_shape], 'vae_eps': like
  it, 'drop_caption': bool[b], 'dropout_keys': [b]}, and 'augment' where pictures are
  changed."""
  b = shape[0]
  at, mix, noise, vae, drop, dropout, changes = jax.random.split(key, 7)
  latents = b, *given.module.latent_shape(shape[1:3])
  t, importance = given.sample_times(at, b, loss_ema)
  order = jax.random.permutation(mix, b)  # each part of a batch sees all times
  drawn = {'t': t[order], 'importance': importance[order],
           'eps': jax.random.normal(noise, latents),
           'vae_eps': jax.random.normal(vae, latents),
           'drop_caption': jax.random.bernoulli(drop, given.caption_dropout, (b,)),
           'dropout_keys': jax.random.split(dropout, b)}
  if given.augment:
    drawn['augment'] = augment.draw(changes, b, given.augment)
  return drawn


def read_batch(given: Given, params, batch, drawn, drop: bool = True):
  """(x0 f32[b *latent_shape], Context) of a batch.

  A batch has 'image' uint8 [b h w 3], 'tokens' int32 [b l] and 'sizes' f32 [b 6].
  drop: whether captions are dropped, as drawn.
  """
  apply = functools.partial(given.module.apply, {'params': params})
  x0, labels = batch['image'].astype(jnp.float32) / 127.5 - 1, None
  if given.augment:
    x0, labels = augment.change(x0, drawn['augment']), drawn['augment']['labels']
  x0 = apply(x0, drawn['vae_eps'], method='to_latents')
  tokens = batch['tokens']
  if drop:
    tokens = jnp.where(drawn['drop_caption'][:, None], given.null_tokens, tokens)
  context = apply(tokens, batch['sizes'], method='encode')
  return x0, context.replace(augment=labels)


def predictor(given: Given, params, context, dropout_keys=None, taps=(), **scalars):
  """(x_t, t) -> what the network predicts, as the process calls it.

  dropout_keys: [b]; None drops no activations. scalars: of models.Scalars, beside t.
  """
  rngs = {} if dropout_keys is None else {'rngs': {'dropout': dropout_keys[0]}}
  def predict(x, t):
    return given.module.apply({'params': params}, x, Scalars(t, **scalars), context,
                              taps, method='predict', **rngs)
  return given.process.precondition(predict)


def check_learns_variance(module, why: str):
  """Raises ValueError, which says why, unless a model predicts a variance."""
  if not module.learns_variance:
    raise ValueError(f'{why}; the network predicts no variance: it takes '
                     f'config.model.out_channels={2 * module.autoencoder.channels}, of '
                     'a unet or a dit.')
