"""From config.diffusion and config.sample to the maths: all that has heard of a config.

Everything here raises ValueError for what makes no sense, naming the key.
"""
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from diffusion import editing, guidance, losses, sampling, schedules, specs
from diffusion import time_sampling, timesteps, vlb
from diffusion.process import Process, TARGETS, preconditioned, t_max
from diffusion.solvers import SOLVERS, Solver

CHOICES = {  # keys of config.sample, and the tables of their rows
    'solver': SOLVERS, 'timesteps': timesteps.TIMESTEPS, 'rule': guidance.RULES,
    'over_time': guidance.OVER_TIME, 'clip': guidance.CLIPS,
    'prior': sampling.PRIORS}


def build(c) -> Process:
  """The process of a config.diffusion: schedule, target, input_std."""
  schedule = specs.build(schedules.SCHEDULES, c.schedule, 'diffusion.schedule')
  target = specs.build(TARGETS, c.target, 'diffusion.target')
  _, options = specs.parse(c.schedule, 'diffusion.schedule')
  last = t_max(schedule, target)
  if last < 1 and options.get('zero_snr'):
    raise ValueError(
        f'config.diffusion.target is {c.target!r}, but noise says nothing of the '
        f'picture where {c.schedule!r} starts; x0, v and flow do (arXiv:2305.08891).')
  def precondition(predict):
    return preconditioned(predict, schedule, c.input_std) if c.input_std else predict
  return Process(schedule, target, options.get('steps', 0), last, precondition)


def build_loss_weight(c, process: Process):
  """log_snr -> weight of the squared error of x0, at most loss_weight_cap unless it
  makes the loss the plain MSE of the target."""
  weight = specs.build(losses.weights(), c.loss_weight, 'diffusion.loss_weight')
  if c.loss_weight == c.target:
    return losses.target_weight(process.target)
  return lambda log_snr: jnp.minimum(weight(log_snr), c.loss_weight_cap)


def build_time_sampling(c, process: Process):
  """(key, n, loss_ema f32[BINS]) -> (t f32[n], importance f32[n])."""
  measure = specs.build(time_sampling.LOSS_OVER, c.loss_over, 'diffusion.loss_over',
                        schedule=process.schedule)
  quantile = functools.partial(
      specs.build, time_sampling.DENSITIES, c.time_sampling, 'diffusion.time_sampling',
      schedule=process.schedule)
  quantile(loss_ema=jnp.ones(time_sampling.BINS))  # raises what there is to raise
  return lambda key, n, loss_ema: time_sampling.draw(
      quantile(loss_ema=loss_ema), key, n, stratified=c.stratified,
      num_steps=process.num_steps, measure=measure)


def build_vlb(c, process: Process):
  """(t, x0, x0_pred, frac) -> f32[b], the weighted bound; None where c.vlb is 0."""
  n = process.num_steps
  if not c.vlb:
    return None
  if not n:
    raise ValueError(f'config.diffusion.vlb is {c.vlb}, of the variance of steps; '
                     f'{c.schedule!r} has none, unlike {"linear(steps=1000)"!r}.')
  return lambda *given: c.vlb * n * vlb.step_kl(process.schedule, n, *given)


class Sampling(NamedTuple):
  """What a config.sample says.

  Attributes:
    solver: of diffusion.solvers.
    timesteps: f32[steps + 1], from noise to 0, or to where the row of timesteps ends.
    guide: (both, cond_only, scale f32[]) -> Guided: of guidance.prompts.
    prior: (schedule, t, eps) -> x to start from: a row of sampling.PRIORS.
    network_time: t -> the time that the network is told; None where that is t.
  """
  solver: Solver
  timesteps: Any
  guide: Callable
  prior: Callable
  network_time: Callable | None = None

  @property
  def learned_variance(self) -> bool:
    """Whether `guide` takes denoisers that return a variance beyond x0."""
    return self.solver.learned_variance


def build_sampling(c, process: Process, tokens: int | None = None) -> Sampling:
  """The solver, timesteps, guidance and start of a config.sample.

  tokens: of a picture, for timesteps that depend on its size.
  """
  check_sampling(c)
  grid = choice(c, 'timesteps', schedule=process.schedule, steps=c.steps,
                t_max=process.t_max, tokens=tokens)
  try:
    times = timesteps.complete(grid)
  except ValueError as e:
    raise ValueError(f'config.sample.timesteps is {c.timesteps!r}; {e}') from e
  solver = choice(c, 'solver', schedule=process.schedule, times=times)
  rule = choice(c, 'rule', schedule=process.schedule)
  if solver.solve and not rule.stateless:
    raise ValueError(f'config.sample.solver is {c.solver!r}, whose steps differ from '
                     'picture to picture: it takes no rule that remembers, such as '
                     f'{c.rule!r}.')
  if c.rescale:
    rule = guidance.rescaled(rule, process.schedule, process.target, c.rescale)
  over_time, clip = choice(c, 'over_time'), choice(c, 'clip')
  def guide(both, cond_only, scale):
    guided = guidance.unguided(cond_only) if c.guidance == 1 else guidance.guided(
        both, cond_only, rule, scale, over_time, tuple(c.interval))
    return guidance.clipped(guided, clip)
  return Sampling(solver, times, guide, choice(c, 'prior'),
                  timesteps.network_time(grid, process.schedule))


def choice(c, key: str, **given):
  """What a key of config.sample chooses."""
  return specs.build(CHOICES[key], c[key], f'sample.{key}', **given)


def check_sampling(c):
  """Raises ValueError for a choice or a number of a config.sample; builds nothing."""
  for key, table in CHOICES.items():
    specs.check(table, c[key], f'sample.{key}')
  for key, fits, accepted in (
      ('steps', c.steps > 0, 'above 0'),
      ('guidance', math.isfinite(c.guidance), 'finite'),
      ('rescale', 0 <= c.rescale <= 1, 'from 0 to 1'),
      ('interval', len(c.interval) == 2 and 0 <= c.interval[0] < c.interval[1] <= 1,
       '(low, high) with 0 <= low < high <= 1')):
    if not fits:
      raise ValueError(f'config.sample.{key} is {c[key]}; it must be {accepted}.')


def build_fill(spec: str, solver: Solver) -> editing.Fill:
  """How a mask is painted with this solver: 'blend', 'repaint(jump=10, repeats=10)', or
  'network', by one that sees it."""
  fill = specs.build(editing.FILLS, spec, '--fill')
  if solver.remembers and not fill.remembers:
    raise ValueError(f'--fill is {spec!r}; it takes a config.sample.solver '
                     'without memory, such as ddpm.')
  return fill
