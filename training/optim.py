"""Optax optimizers and learning-rate schedules from a config."""
import re

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from models.kernels import axes_of
from training import rounding, rules


DECAYS = {  # (rate, where it starts, steps from there) -> step from there -> rate
    'cosine': lambda lr, start, rest: optax.cosine_decay_schedule(lr, rest),
    'linear': lambda lr, start, rest: optax.linear_schedule(lr, 0.0, rest),
    'rsqrt': lambda lr, start, rest: lambda i: lr / jnp.sqrt(1 + i / max(1, start)),
    'constant': lambda lr, start, rest: optax.constant_schedule(lr)}


def learning_rate(lr: float, steps: int, warmup: int, decay: str, decay_from: float):
  """Step -> rate: a linear warm-up, a flat part, and a decay.

  decay: 'cosine' or 'linear', to zero at `steps`; 'rsqrt', with the root of the step
  (arXiv:2312.02696 eq. 67); 'constant', none. decay_from: share of `steps` before it.
  """
  if decay not in DECAYS:
    raise ValueError(f'config.optim.decay is {decay!r}, not one of {sorted(DECAYS)}.')
  start = max(warmup, int(decay_from * steps))
  ramp = optax.linear_schedule(lr / max(1, warmup), lr, max(1, warmup - 1))
  tail = DECAYS[decay](lr, start, max(1, steps - start))
  return optax.join_schedules([ramp, optax.constant_schedule(lr), tail],
                              [warmup, start])


def matrix_of(name: str, p):
  """How Muon flattens a kernel to inputs x outputs; None for what Adam takes.

  Adam takes what is no kernel, and the kernels that see only the condition: they are
  the widest, and Newton-Schulz on them would cost as much as on all the others.
  """
  axes = axes_of(name, p)
  if axes is None or re.search('/modulation/|/time/|/pooled/', name):
    return None
  first, split, end = axes
  return contrib.MuonDimensionNumbers(
      tuple(range(first, split)), tuple(range(split, end)))


def muon(b1: float, b2: float):
  """Muon (Jordan et al., 2024) for kernels, Adam for everything else.

  Its steps are scaled to the size of Adam's (arXiv:2502.16982 eq. 4), so that one
  learning rate suits both.
  """
  return contrib.muon(
      -1.0, adam_b1=b1, adam_b2=b2, consistent_rms=0.2,  # a rate of -1 keeps the sign
      muon_weight_dimension_numbers=lambda params: jax.tree.map(
          matrix_of, rules.names(params), params))


def adafactor(b1: float, b2: float):
  """Adafactor (arXiv:1804.04235 alg. 4), its steps not scaled by the parameters.

  The second moment of a large matrix is its rows' and columns'. Its decay follows the
  step, so b2 has no part in it; b1 = 0 keeps no first moment.
  """
  momentum = [optax.ema(b1, debias=False)] if b1 else []
  return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0),
                     *momentum)


OPTIMIZERS = {'adafactor': adafactor, 'adamw': optax.scale_by_adam,
              'lion': optax.scale_by_lion, 'muon': muon}
TABLES = ('weight_decay', 'lr_scale', 'unit_rms')  # keys of (regex, value) rows


def by_rule(c, key: str, one):
  """An update, one(name, update, parameter, value) by the rules of config.optim."""
  table = c[key]
  def update(updates, params):
    return jax.tree.map(one, rules.names(params), updates, params,
                        rules.match(table, params, f'config.optim.{key}'))
  return optax.stateless(update)


def project_to_unit_rms(c):
  """Keeps chosen kernels at a root mean square of 1 over the inputs of each output,
  after every step (arXiv:2312.02696 eq. 66)."""
  def one(name, u, p, chosen):
    axes = axes_of(name, p)
    if not chosen or axes is None:
      return u
    new, inputs = p + u, tuple(range(*axes[:2]))
    rms = jnp.sqrt(jnp.square(new).mean(inputs, keepdims=True))
    return new / (rms + 1e-12) - p
  return by_rule(c, 'unit_rms', one)


def frozen(c, params):
  """A tree of bool: the parameters that config.optim.lr_scale freezes."""
  factors = rules.match(c.lr_scale, params, 'config.optim.lr_scale')
  return jax.tree.map(lambda factor: factor == 0, factors)


def check(c, params):
  """Raises ValueError for a parameter that the config's `optim` has no rule for."""
  for key in TABLES:
    rules.match(c[key], params, f'config.optim.{key}')
  kept = frozen(c, params)
  if not all(jax.tree.leaves(kept.get('autoencoder', {}))):
    raise ValueError('config.optim.lr_scale trains the autoencoder, of which nothing '
                     "would be left; freeze it with ('autoencoder/.*', 0.0).")
  if all(jax.tree.leaves(kept)):
    raise ValueError('config.optim.lr_scale is 0 for every parameter: nothing is left '
                     'to train.')


def build(c, steps: int):
  """(optimizer, step -> learning rate) of a config's `optim` over `steps` steps.

  Raises ValueError for an unknown name.
  """
  if c.name not in OPTIMIZERS:
    raise ValueError(
        f'config.optim.name is {c.name!r}, not one of {sorted(OPTIMIZERS)}.')
  rate = learning_rate(c.lr, steps, c.warmup, c.decay, c.decay_from)
  direction = OPTIMIZERS[c.name](c.b1, c.b2)
  if c.moment_dtype != 'float32':
    direction = rounding.keep_moments(direction, c.moment_dtype)
  return optax.chain(
      optax.clip_by_global_norm(c.clip), direction,
      by_rule(c, 'weight_decay', lambda name, u, p, share: u + share * p),
      by_rule(c, 'lr_scale', lambda name, u, p, factor: u * factor),
      optax.scale_by_learning_rate(rate), project_to_unit_rms(c)), rate
