"""What an objective is, and what most of them do alike.

All that is random in a step is drawn first, for the whole batch: so it does not depend
on devices, hosts or accumulation, and the loss is a pure function of what was drawn.
"""
import functools
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion import process, sampling, schedules
from models import Scalars
from training import augment


class Given(NamedTuple):
  """What objectives are made of."""
  module: Any              # TextToImage
  null_tokens: Any         # int32[l], the tokens of the empty caption
  process: Any             # this and the next ones: of diffusion.build and its kin
  loss_weight: Callable
  sample_times: Callable
  vlb: Callable | None
  augment: float           # this and the next ones: of config.diffusion
  caption_dropout: float
  learned_weight: bool
  control: Callable | None = None  # of controls.CONTROLS


class Part(NamedTuple):
  """Parameters that an objective keeps beside the model's: a teacher, a fake score.

  Without gradients they stay as they are, from a row of config.init_from.
  """
  init: Callable         # (key, the model's first parameters) -> those of this part
  trained: bool = False  # whether they have gradients
  fold: Callable | None = None  # (the model's parameters, those of this part) -> the
                         # model's that pictures are drawn with; None: it has no part


class Objective(NamedTuple):
  """Attributes:
    draw: (key, (b, h, w, c) of the pictures, loss_ema, progress) -> a tree of arrays
      [b ...]: all that is random in a step. progress: f32[], the share of the run's
      steps that is done, for what changes on the way.
    loss: (params, ema, batch, drawn) -> (terms, seen). params, ema: all parameters and
      their first average, frozen ones and further parts included; gradients are taken
      to `params`. terms: {name: f32[b]}, whose sum is minimised. seen: {'t', 'loss'},
      f32[b] each: the loss by time, as it is logged and followed.
    parts: {name: Part}.
    scalars: names of models.Scalars that the network is told, beside t.
    across: whether the loss of a picture depends on the others of its batch, so that
      devices cannot work on theirs alone.
  """
  draw: Callable
  loss: Callable
  parts: dict = {}
  scalars: tuple = ()
  across: bool = False


def draw_inputs(given: Given, key, shape, loss_ema, progress) -> dict:
  """{'t': f32[b], 'importance': f32[b], 'eps': f32[b *latent_shape], 'vae_eps': like
  it, 'drop_caption': bool[b], 'dropout_keys': [b], 'progress': f32[b]}, and 'augment'
  where pictures are changed."""
  b = shape[0]
  at, mix, noise, vae, drop, dropout, changes = jax.random.split(key, 7)
  latents = b, *given.module.latent_shape(shape[1:3])
  t, importance = given.sample_times(at, b, loss_ema)
  order = jax.random.permutation(mix, b)  # each part of a batch sees all times
  drawn = {'t': t[order], 'importance': importance[order],
           'eps': jax.random.normal(noise, latents),
           'vae_eps': jax.random.normal(vae, latents),
           'drop_caption': jax.random.bernoulli(drop, given.caption_dropout, (b,)),
           'dropout_keys': jax.random.split(dropout, b),
           'progress': jnp.full(b, progress)}
  if given.augment:
    drawn['augment'] = augment.draw(changes, b, given.augment)
  return drawn


def read_batch(given: Given, params, batch, drawn, drop: bool = True):
  """(x0 f32[b *latent_shape], Context) of a batch.

  A batch has 'image' uint8 [b h w c], 'tokens' int32 [b l] and 'sizes' f32 [b 6].
  drop: whether captions, and activations of the text encoder, are dropped, as drawn.
  """
  apply = functools.partial(given.module.apply, {'params': params})
  x0, labels = batch['image'].astype(jnp.float32) / 127.5 - 1, None
  if given.augment:
    x0, labels = augment.change(x0, drawn['augment']), drawn['augment']['labels']
  control = given.control(x0) if given.control else None
  x0 = apply(x0, drawn['vae_eps'], method='to_latents')
  tokens = batch['tokens']
  if drop:
    tokens = jnp.where(drawn['drop_caption'][:, None], given.null_tokens, tokens)
  rngs = {'dropout': jax.random.fold_in(drawn['dropout_keys'][0], 1)} if drop else {}
  context = apply(tokens, batch['sizes'], method='encode', rngs=rngs)
  return x0, context.replace(augment=labels, control=control)


def predictor(given: Given, params, context, dropout_keys=None, taps=(), **scalars):
  """(x_t, t) -> what the network predicts, as the process calls it.

  dropout_keys: [b]; None drops no activations. scalars: of models.Scalars, beside t.
  """
  rngs = {} if dropout_keys is None else {'rngs': {'dropout': dropout_keys[0]}}
  def predict(x, t):
    return given.module.apply({'params': params}, x, Scalars(t, **scalars), context,
                              taps, method='predict', **rngs)
  return given.process.precondition(predict)


def denoiser(*args, **scalars):
  """(x_t, t) -> the x0 f32[b *latent_shape] that `predictor` of the same leads to."""
  return sampling.denoiser(predictor(*args, **scalars), args[0].process)


def x0_error(given: Given, name: str, x0_pred, x0, t, importance):
  """(terms, seen), as Objective.loss returns them: the weighted squared error of x0."""
  error = jnp.square(x0_pred - jax.lax.stop_gradient(x0))
  each = error.mean(tuple(range(1, x0.ndim))) * importance * (
      given.loss_weight(schedules.log_snr(given.process.schedule, t)))
  return {name: each}, {'t': t, 'loss': each}


def guided_teacher(given: Given, teacher, batch, drawn, scale):
  """(x_t, t) -> the x0 of a teacher's parameters, led from no caption to a batch's.

  scale: of guidance, f32[b]. A teacher that is told one is told 1.
  """
  null = batch | {'tokens': jnp.broadcast_to(given.null_tokens, batch['tokens'].shape)}
  contexts = [read_batch(given, teacher, part, drawn, drop=False)[1]
              for part in (batch, null)]
  told = {name: jnp.ones_like(scale) for name in given.module.scalars
          if name == 'guidance'}
  def x0_of(x, t):
    cond, uncond = (denoiser(given, teacher, context, **told)(x, t)
                    for context in contexts)
    return uncond + process.append_dims(scale, x) * (cond - uncond)
  return x0_of


def with_learned_weight(given: Given, params, terms: dict, t) -> dict:
  """Terms at t f32[b] divided by exp(u), where config.diffusion.learned_weight is set.

  u, the log variance of the loss, is learned beside: arXiv:2312.02696 eq. 21.
  """
  if not given.learned_weight:
    return terms
  u = given.module.apply({'params': params},
                         schedules.log_snr(given.process.schedule, t),
                         method='log_variance')
  return {name: term / jnp.exp(u) for name, term in terms.items()} | {'log_variance': u}
