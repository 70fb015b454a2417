"""Optax optimizers and learning-rate schedules from a config."""
import re

import jax
import jax.numpy as jnp
import optax
from optax import contrib

from training import rules


def learning_rate(lr: float, steps: int, warmup: int, decay: str, decay_from: float):
  """Step -> rate: a linear warm-up, a flat part, and a decay.

  Args:
    decay: 'cosine' or 'linear', to zero at `steps`; 'rsqrt', with the root of the step
      (arXiv:2312.02696 eq. 67); 'constant', none.
    decay_from: share of `steps` after which the decay starts.
  """
  start = max(warmup, int(decay_from * steps))
  rest = max(1, steps - start)
  tails = {'cosine': lambda: optax.cosine_decay_schedule(lr, rest),
           'linear': lambda: optax.linear_schedule(lr, 0.0, rest),
           'rsqrt': lambda: lambda i: lr / jnp.sqrt(1 + i / max(1, start)),
           'constant': lambda: optax.constant_schedule(lr)}
  if decay not in tails:
    raise ValueError(f'config.optim.decay is {decay!r}, not one of {sorted(tails)}.')
  ramp = optax.linear_schedule(lr / max(1, warmup), lr, max(1, warmup - 1))
  return optax.join_schedules([ramp, optax.constant_schedule(lr), tails[decay]()],
                              [warmup, start])


def axes_of(name: str, p):
  """(first, split, end): a kernel's axes first to split are inputs, the rest outputs.

  None for what is no kernel. Of stacked blocks each is a matrix of its own.
  """
  first = int('blocks/' in name)
  if p.ndim < 2 + first or not name.endswith('kernel'):
    return None
  heads_out = re.fullmatch('.*/(text_)?(q|k|v)/kernel', name)  # [inputs, heads, ...]
  return first, (first + 1 if heads_out else p.ndim - 1), p.ndim


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
  def dimensions(params):
    return jax.tree.map(matrix_of, rules.names(params), params)
  return contrib.muon(
      -1.0, adam_b1=b1, adam_b2=b2, consistent_rms=0.2,  # a rate of -1 keeps the sign
      muon_weight_dimension_numbers=dimensions)


def adafactor(b1: float, b2: float):
  """Adafactor (arXiv:1804.04235 alg. 4), its steps not scaled by the parameters.

  The second moment of a large matrix is its rows' and columns'. Its decay follows the
  step, so b2 has no part in it; b1 = 0 keeps no first moment.
  """
  del b2
  momentum = [optax.ema(b1, debias=False)] if b1 else []
  return optax.chain(optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0),
                     *momentum)


OPTIMIZERS = {'adafactor': adafactor, 'adamw': optax.scale_by_adam,
              'lion': optax.scale_by_lion, 'muon': muon}
TABLES = ('weight_decay', 'lr_scale', 'unit_rms')  # keys of (regex, value) rows


def add_decayed_weights(table):
  """Adds rate * parameter to each update, by a table of (regex, rate)."""
  def add(updates, params):
    rates = rules.match(table, params, 'config.optim.weight_decay')
    return jax.tree.map(lambda u, p, rate: u + rate * p, updates, params, rates)
  return optax.stateless(add)


def scale_by_rule(table):
  """Multiplies each update by the factor that a table of (regex, factor) gives."""
  def scale(updates, params):
    factors = rules.match(table, updates, 'config.optim.lr_scale')
    return jax.tree.map(jnp.multiply, updates, factors)
  return optax.stateless(scale)


def project_to_unit_rms(table):
  """Keeps the kernels that a table of (regex, bool) names at a root mean square of 1
  over the inputs of each output, after every step (arXiv:2312.02696 eq. 66)."""
  def project(updates, params):
    chosen = rules.match(table, params, 'config.optim.unit_rms')
    def one(name, u, p, unit):
      axes = axes_of(name, p)
      if not unit or axes is None:
        return u
      new, inputs = p + u, tuple(range(*axes[:2]))
      rms = jnp.sqrt(jnp.square(new).mean(inputs, keepdims=True))
      return new / (rms + 1e-12) - p
    return jax.tree.map(one, rules.names(params), updates, params, chosen)
  return optax.stateless(project)


def frozen(c, params):
  """A tree of bool: the parameters that config.optim.lr_scale freezes."""
  return jax.tree.map(
      lambda factor: factor == 0,
      rules.match(c.lr_scale, params, 'config.optim.lr_scale'))


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

  Raises:
    ValueError: an unknown name.
  """
  if c.name not in OPTIMIZERS:
    raise ValueError(
        f'config.optim.name is {c.name!r}, not one of {sorted(OPTIMIZERS)}.')
  rate = learning_rate(c.lr, steps, c.warmup, c.decay, c.decay_from)
  return optax.chain(
      optax.clip_by_global_norm(c.clip), OPTIMIZERS[c.name](c.b1, c.b2),
      add_decayed_weights(c.weight_decay), scale_by_rule(c.lr_scale),
      optax.scale_by_learning_rate(rate), project_to_unit_rms(c.unit_rms)), rate
