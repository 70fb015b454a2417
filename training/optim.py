"""Optax optimizers and learning-rate schedules from a config."""
import re

import jax
import optax
from optax import contrib

from training import rules


def learning_rate(lr: float, steps: int, warmup: int, decay: str, decay_from: float):
  """Step -> rate: a linear warm-up, a flat part, and a decay to zero at `steps`.

  Args:
    decay: 'cosine', 'linear' or 'constant' (none).
    decay_from: share of `steps` after which the decay starts.
  """
  if decay not in ('cosine', 'linear', 'constant'):
    raise ValueError(f'config.optim.decay is {decay!r}, not one of '
                     "['constant', 'cosine', 'linear'].")
  start = max(warmup, int(decay_from * steps))
  rest = max(1, steps - start)
  tail = {'cosine': lambda: optax.cosine_decay_schedule(lr, rest),
          'linear': lambda: optax.linear_schedule(lr, 0.0, rest),
          'constant': lambda: optax.constant_schedule(lr)}[decay]()
  ramp = optax.linear_schedule(lr / max(1, warmup), lr, max(1, warmup - 1))
  return optax.join_schedules([ramp, optax.constant_schedule(lr), tail],
                              [warmup, start])


def matrix_of(name: str, p):
  """How Muon flattens a kernel to inputs x outputs; None for what Adam takes.

  Adam takes what is no kernel, and the kernels that see only the condition: they are
  the widest, and Newton-Schulz on them would cost as much as on all the others.
  """
  first = 'blocks/' in name  # of stacked blocks each is a matrix of its own
  if (p.ndim < 2 + first or not name.endswith('kernel')
      or re.search('/modulation/|/time/|/pooled/', name)):
    return None
  heads_out = re.fullmatch('.*(q|k|v)/kernel', name)  # [inputs, heads, head width]
  split = first + 1 if heads_out else p.ndim - 1
  return contrib.MuonDimensionNumbers(
      tuple(range(first, split)), tuple(range(split, p.ndim)))


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


DIRECTIONS = {'adamw': optax.scale_by_adam, 'muon': muon}


def decayed(table):
  """Adds rate * parameter to each update, by a table of (regex, rate)."""
  def add(updates, params):
    rates = rules.match(table, params, 'config.optim.weight_decay')
    return jax.tree.map(lambda u, p, rate: u + rate * p, updates, params, rates)
  return optax.stateless(add)


def check(c, params):
  """Raises ValueError for a parameter that the config's `optim` has no rule for."""
  rules.match(c.weight_decay, params, 'config.optim.weight_decay')


def make(c, steps: int):
  """(optimizer, step -> learning rate) of a config's `optim` over `steps` steps.

  Raises:
    ValueError: an unknown name.
  """
  if c.name not in DIRECTIONS:
    raise ValueError(
        f'config.optim.name is {c.name!r}, not one of {sorted(DIRECTIONS)}.')
  rate = learning_rate(c.lr, steps, c.warmup, c.decay, c.decay_from)
  return optax.chain(
      optax.clip_by_global_norm(c.clip), DIRECTIONS[c.name](c.b1, c.b2),
      decayed(c.weight_decay), optax.scale_by_learning_rate(rate)), rate
