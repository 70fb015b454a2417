"""Guidance: transforms of a denoiser, denoise -> denoise.

A pair says what a picture should become, `good`, and what it should not, `bad`, both as
x0 [b h w c]: a prompt and none, two prompts, a network and a weaker one. A rule
combines them; `guided` makes a denoiser of a pair and a rule. Rules may remember: a
guided denoiser is (x, t, memory) -> (x0, memory), its first memory is `memory(x)`. What
a network says beyond x0 is not guided: it is that of `good`.
"""
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion import process


class Rule(NamedTuple):
  """Attributes:
    init: x -> memory.
    combine: (x, t, good, bad, scale, memory) -> (x0, memory); at scale 1 it is good.
  """
  init: Callable[[Any], Any]
  combine: Callable[..., Any]


class Guided(NamedTuple):
  """Attributes: memory: x -> memory. denoise: (x, t, memory) -> (x0, memory)."""
  memory: Callable[[Any], Any]
  denoise: Callable[..., Any]


def forgetful(combine):
  """A rule without memory, from (x, t, good, bad, scale) -> x0."""
  return Rule(lambda x: (), lambda *args: (combine(*args[:-1]), args[-1]))


def mean(x):
  """Over each picture: [b ...] -> [b 1 ...]."""
  return x.mean(tuple(range(1, x.ndim)), keepdims=True)


# Pairs.

def prompts(denoise, contexts, weights, null):
  """The pair of one or several weighted prompts and none: arXiv:2206.01714 eq. 11.

  Args:
    denoise: (x [b h w c], t, context) -> x0.
    contexts: a list of trees [b ...], one a prompt.
    weights: f32[b len(contexts)]; the weighted differences from `null` are added up.
    null: a tree [b ...]: the empty prompt, or a negative one.

  Returns:
    (pair, alone): (x, t) -> (good, bad) in one evaluation of all contexts, and
    (x, t) -> good, which leaves `null` out where a single prompt does without.
  """
  n = len(contexts) + 1
  together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *contexts, null)
  def pair(x, t):
    t = jnp.tile(t, n) if jnp.ndim(t) else t
    *each, bad = jnp.split(denoise(jnp.concatenate([x] * n), t, together), n)
    good = bad
    for i, x0 in enumerate(each):
      good = good + process.over(weights[:, i], x) * (x0 - bad)
    return good, bad
  def alone(x, t):
    return denoise(x, t, contexts[0]) if n == 2 else pair(x, t)[0]
  return pair, alone


def networks(strong, weak):
  """The pair of autoguidance, a network and a weaker one: arXiv:2406.02507 eq. 3.

  strong, weak: (x, t) -> x0. Returns (pair, alone) as `prompts`.
  """
  return (lambda x, t: (strong(x, t), weak(x, t))), strong


# Rules.

def cfg():
  """bad + scale (good - bad): arXiv:2207.12598 eq. 6."""
  return forgetful(lambda x, t, good, bad, scale: bad + scale * (good - bad))


def apg(eta: float = 0.0, bound: float = 0.0, momentum: float = 0.0):
  """Adaptive projected guidance, arXiv:2410.02416 alg. 1.

  The difference of the pair loses what is parallel to `good`, which saturates.

  Args:
    eta: how much of the parallel part is kept; 1 is cfg.
    bound: greatest norm of the difference over a picture; 0 for any.
    momentum: weight of earlier differences; negative values push away from them.
  """
  def combine(x, t, good, bad, scale, memory):
    del x, t
    memory = good - bad + momentum * memory
    change = memory
    if bound:
      norm = jnp.sqrt(mean(change**2) * change[0].size)
      change = change * jnp.minimum(1, bound / jnp.maximum(norm, 1e-12))
    along = mean(change * good) / jnp.maximum(mean(good**2), 1e-12) * good
    return good + (scale - 1) * (change - along + eta * along), memory
  return Rule(jnp.zeros_like, combine)


def zero_star(schedule, zero_above: float = 1.0):
  """CFG-Zero*, arXiv:2503.18886 alg. 1, for networks of straight paths.

  `bad` is scaled to fit `good` best, both as velocities; above a time, nothing moves.

  Args:
    zero_above: t from which the velocity is zero; 1 zeroes the first step alone, more
      than 1 none.
  """
  def combine(x, t, good, bad, scale):
    alpha, sigma = schedule(t)
    x = x / process.over(alpha + sigma, x)  # as on the path alpha + sigma = 1
    to_good, to_bad = x - good, x - bad     # velocities times sigma
    fit = mean(to_good * to_bad) / jnp.maximum(mean(to_bad**2), 1e-12)
    velocity = fit * to_bad + scale * (to_good - fit * to_bad)
    return x - velocity * process.over(t < zero_above, x)
  return forgetful(combine)


RULES = {'cfg': cfg, 'apg': apg, 'zero_star': zero_star}


def rescaled(rule, schedule, row, share: float):
  """Takes a share of the spread back to that of `good`: arXiv:2305.08891 eq. 16.

  row: the target that the network predicts, in whose space it is done.
  """
  def combine(x, t, good, bad, scale, memory):
    x0, memory = rule.combine(x, t, good, bad, scale, memory)
    def as_target(x0):
      return process.convert(process.ROWS['x0'], row, x0, x, *schedule(t))
    guided, wanted = as_target(x0), as_target(good)
    def spread(x):
      return jnp.sqrt(mean((x - mean(x)) ** 2))
    factor = spread(wanted) / jnp.maximum(spread(guided), 1e-12)
    guided = guided * (share * factor + 1 - share)
    return process.to_x0(row, guided, x, *schedule(t)), memory
  return Rule(rule.init, combine)


# How much, when.

def constant():
  return lambda t, scale: scale


def linear(start: float = 0.0, end: float = 2.0):
  """scale - 1 times what leads from `start` at noise to `end`, arXiv:2404.13040."""
  return lambda t, scale: 1 + (scale - 1) * (end + (start - end) * t)


def cosine(power: float = 1.0):
  """scale - 1 times (1 - cos(pi (1 - t)^power)) / 2: arXiv:2303.14389."""
  return lambda t, scale: 1 + (scale - 1) * jnp.sin(jnp.pi / 2 * (1 - t) ** power) ** 2


OVER_TIME = {'constant': constant, 'linear': linear, 'cosine': cosine}


def guided(pair, alone, rule, scale, over_time=None, interval=(0.0, 1.0)):
  """A denoiser of a pair and a rule, within an interval of times: arXiv:2404.07724.

  Args:
    pair, alone: of `prompts` or `networks`.
    scale: f32[]; 1 follows `good` alone, more exaggerates its difference from `bad`.
    over_time: (t, scale) -> scale; None leaves it.
    interval: (low, high): outside low < t <= high only `alone` is evaluated.
  """
  low, high = interval
  def combined(x, t, memory):
    now = process.over(over_time(t, scale) if over_time else scale, x)
    (good, beyond), (bad, _) = (process.parts(x0, x) for x0 in pair(x, t))
    x0, memory = rule.combine(x, t, good, bad, now, memory)
    return jnp.concatenate([x0, beyond], -1), memory
  def denoise(x, t, memory):
    if low <= 0 and high >= 1:
      return combined(x, t, memory)
    inside = (low < t) & (t <= high)
    x0, memory = jax.lax.cond(
        jnp.any(inside), combined, lambda x, t, m: (alone(x, t), m), x, t, memory)
    if jnp.ndim(t):  # solvers that give each picture a time of its own
      x0 = jnp.where(process.over(inside, x), x0, alone(x, t))
    return x0, memory
  return Guided(rule.init, denoise)


# Keeping x0 in range.

def static(bound: float = 1.0):
  """Clips x0 to [-bound, bound], as pictures are (arXiv:2006.11239, section 3.2)."""
  return lambda x0: jnp.clip(x0, -bound, bound)


def dynamic(percentile: float = 0.995, most: float = 1e9):
  """Dynamic thresholding, Imagen, arXiv:2205.11487 section 2.3.

  Each picture is clipped at that percentile of its |x0|, if it is above 1 (and at most
  `most`), and divided by it.
  """
  def threshold(x0):
    axes = tuple(range(1, x0.ndim))
    size = jnp.quantile(jnp.abs(x0), percentile, axes, keepdims=True)
    size = jnp.clip(size, 1.0, most)
    return jnp.clip(x0, -size, size) / size
  return threshold


CLIPS = {'none': lambda: lambda x0: x0, 'static': static, 'dynamic': dynamic}


def clipped(given: Guided, clip) -> Guided:
  """Applies `clip`, x0 -> x0, to what a denoiser returns."""
  def denoise(x, t, memory):
    out, memory = given.denoise(x, t, memory)
    x0, beyond = process.parts(out, x)
    return jnp.concatenate([clip(x0), beyond], -1), memory
  return Guided(given.memory, denoise)


def unguided(denoise) -> Guided:
  """A plain (x, t) -> x0 as one that remembers nothing."""
  return Guided(lambda x: (), lambda x, t, memory: (denoise(x, t), memory))
