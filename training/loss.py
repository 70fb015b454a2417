"""The loss of a batch: what is drawn at random, and what follows from it."""
import functools

import jax
import jax.numpy as jnp

from diffusion import bound as bounds, objective, process, schedule as schedules, times
from training import augment, specs

SCHEDULES = {name: functools.partial(schedules.make, name)
             for name in schedules.SCHEDULES}
TARGETS = {name: functools.partial(lambda row: row, row)
           for name, row in process.ROWS.items()} | {'edm': process.edm}
WEIGHTS = objective.WEIGHTS | {name: functools.partial(objective.of_target, row)
                               for name, row in process.ROWS.items()}
PARTS = 4  # of [0, 1], by which the loss is logged


def process_of(c):
  """What a config's `diffusion` says of the process.

  Returns:
    (schedule, row of the target, network -> network as the process calls it).
  """
  schedule = specs.make(SCHEDULES, c.schedule, 'diffusion.schedule')
  row = specs.make(TARGETS, c.target, 'diffusion.target')
  if c.target == 'eps' and specs.option(c.schedule, 'zero_snr'):
    raise ValueError(
        "config.diffusion.target is 'eps', but noise says nothing of the picture where "
        f'{c.schedule!r} starts; x0, v and flow do (arXiv:2305.08891).')
  def fitted(predict):
    return process.scaled(predict, schedule, c.input_std) if c.input_std else predict
  return schedule, row, fitted


def density_of(c, schedule, squares):
  """The quantile function of the times of training."""
  name, _ = specs.parse(c.times, 'config.diffusion.times')
  needs = {'log_normal': [schedule], 'adaptive': [squares]}
  return specs.make(times.DENSITIES, c.times, 'diffusion.times', *needs.get(name, []))


def weight_of(c, row):
  """log_snr -> weight of the square error of x0.

  Bounded by `weight_cap`, unless it is just the mean square of the target.
  """
  weight = specs.make(WEIGHTS, c.weight, 'diffusion.weight')
  if c.weight == c.target:
    return objective.of_target(row)
  return lambda log_snr: jnp.minimum(weight(log_snr), c.weight_cap)


def measure_of(c, schedule):
  """What a mean over times is taken over: see times.draw."""
  measures = {'draw': None, 'time': lambda t: t,
              'log_snr': functools.partial(schedules.log_snr, schedule)}
  if c.per not in measures:
    raise ValueError(f'config.diffusion.per is {c.per!r}, not one of '
                     f'{sorted(measures)}.')
  return measures[c.per]


def bound_of(c, model):
  """The weighted variational bound that trains a variance; None where none is learned.

  Raises ValueError where there is no variance, or are no steps to have one.
  """
  if not c.vlb:
    return None
  check_variance(model, f'config.diffusion.vlb is {c.vlb}')
  schedule, n = process_of(c)[0], trained_steps(c)
  if not n:
    raise ValueError(f'config.diffusion.vlb is {c.vlb}, of the variance of steps; '
                     f'{c.schedule!r} has none, unlike {"linear(steps=1000)"!r}.')
  return lambda *given: c.vlb * n * bounds.of_step(schedule, n, *given)


def check_variance(model, why: str):
  """Raises ValueError, which says why, unless a model predicts a variance."""
  if not model.learns_variance:
    raise ValueError(f'{why}; the network predicts no variance: it takes '
                     f'config.model.out={2 * model.autoencoder.channels}, of a unet or '
                     'a dit.')


def trained_steps(c) -> int:
  """How many discrete times there are in training; 0: all."""
  return specs.option(c.schedule, 'steps')


def make(model, c, empty):
  """(draw, loss) of a config's `diffusion`.

  Args:
    model: TextToImage.
    empty: int32[l], the tokens of the empty caption.

  Returns:
    draw: (key, shape of pictures (b, h, w, 3), squares f32[times.BINS]) -> {'t':
      f32[b], 'importance': f32[b], 'eps': f32[b *latent_shape], 'latent': like it,
      'drop': bool[b], 'dropout': keys [b]} and, where pictures are changed, 'augment':
      of augment.draw.
    loss: (params, batch, drawn) -> (mean over pictures, their own losses and times
      {'each': f32[b], 't': f32[b]}). A batch has 'image' uint8 [b h w c] and 'tokens'
      int32 [b l].
  """
  schedule, row, fitted = process_of(c)
  weight, measure = weight_of(c, row), measure_of(c, schedule)
  bound = bound_of(c, model)
  density_of(c, schedule, jnp.ones(times.BINS))  # raises what there is to raise
  if c.augment and getattr(model.backbone, 'labels', 0) != augment.LABELS:
    raise ValueError(f'config.diffusion.augment is {c.augment}; the network is to be '
                     f'told: config.model.labels={augment.LABELS}, of a unet.')

  def draw(key, shape, squares):
    at, mix, noise_key, latent, drop, dropout, changes = jax.random.split(key, 7)
    latents = shape[0], *model.latent_shape(shape[1])
    t, importance = times.draw(
        density_of(c, schedule, squares), at, shape[0], stratified=c.stratified,
        steps=trained_steps(c), measure=measure)
    order = jax.random.permutation(mix, shape[0])  # each part of a batch sees all times
    return {'t': t[order], 'importance': importance[order],
            'eps': jax.random.normal(noise_key, latents),
            'latent': jax.random.normal(latent, latents),
            'drop': jax.random.bernoulli(drop, c.caption_dropout, shape[:1]),
            'dropout': jax.random.split(dropout, shape[0]),
            **({'augment': augment.draw(changes, shape[0], c.augment)}
               if c.augment else {})}

  def loss(params, batch, drawn):
    apply = functools.partial(model.apply, {'params': params})
    x0, labels = batch['image'].astype(jnp.float32) / 127.5 - 1, None
    if c.augment:
      x0, labels = augment.change(x0, drawn['augment']), drawn['augment']['labels']
    x0 = apply(x0, drawn['latent'], method='to_latents')
    tokens = jnp.where(drawn['drop'][:, None], empty, batch['tokens'])
    context = apply(tokens, method='encode')
    def predict(x, t):
      return apply(x, t, context, labels, method='predict',
                   rngs={'dropout': drawn['dropout'][0]})
    t = drawn['t']
    each = objective.loss(fitted(predict), schedule, row, weight, x0, t, drawn['eps'],
                          bound)
    total = each * drawn['importance']
    if c.learned_weight:  # arXiv:2312.02696 eq. 21; u is thrown away after training
      u = apply(schedules.log_snr(schedule, t), method='doubt')
      total = total / jnp.exp(u) + u
    return total.mean(), {'each': each, 't': t}

  return draw, loss
