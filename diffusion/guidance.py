"""Guidance: transforms of a denoiser, denoise -> denoise.

What a picture should become is `cond`, what it is led away from `uncond`, both as x0
[b h w c]: with a prompt and without one, with two prompts, of a network and of a weaker
one. `prompts` and `networks` give (both, cond_only): (x, t) -> (cond, uncond), and
(x, t) -> cond. A rule combines the two; `guided` makes a denoiser of them and a rule.
What a network says beyond x0 is not guided: it is that of `cond`.
"""
import math
from typing import Any, NamedTuple
from collections.abc import Callable

import jax
import jax.numpy as jnp

from diffusion import process, specs
from diffusion.process import append_dims, split_variance


class Rule(NamedTuple):
  """(x, t, cond, uncond, scale, state) -> (x0, state); at scale 1 x0 is cond."""
  init: Callable[[Any], Any]    # x -> state
  combine: Callable[..., Any]
  stateless: bool = False       # whether the state is ()


class Guided(NamedTuple):
  """A denoiser that may remember earlier steps: (x, t, state) -> (x0, state)."""
  init: Callable[[Any], Any]    # as those of Rule
  denoise: Callable[..., Any]
  stateless: bool = False


def stateless(combine) -> Rule:
  """A rule without state, from (x, t, cond, uncond, scale) -> x0."""
  return Rule(lambda x: (), lambda *args: (combine(*args[:-1]), args[-1]), True)


def unguided(denoise) -> Guided:
  """A plain (x, t) -> x0 as a denoiser without state."""
  return Guided(lambda x: (), lambda x, t, state: (denoise(x, t), state), True)


def mean(x):
  """Over each picture: [b ...] -> [b 1 ...]."""
  return x.mean(tuple(range(1, x.ndim)), keepdims=True)


# What is led to, and away from.

def prompts(denoise, contexts, prompt_weights, null):
  """One or several weighted prompts against none: arXiv:2206.01714 eq. 11.

  Args:
    denoise: (x [b h w c], t, context) -> x0.
    contexts: a list of trees [b ...], one a prompt.
    prompt_weights: f32[b len(contexts)], of the differences from `null` that are added.
    null: a tree [b ...]: the empty prompt, or a negative one.

  Returns (both, cond_only): both evaluates all contexts at once; cond_only leaves out
  `null` where a single prompt does without.
  """
  n = len(contexts) + 1
  def together(*parts):  # n of [b ...] -> [b*n ...], picture by picture: each stays
    return jnp.stack(parts, 1).reshape(-1, *parts[0].shape[1:])  # on its device
  told = jax.tree.map(together, *contexts, null)
  def both(x, t):
    t = jnp.repeat(t, n) if jnp.ndim(t) else t
    x0 = denoise(together(*[x] * n), t, told)
    *each, uncond = jnp.moveaxis(x0.reshape(len(x), n, *x0.shape[1:]), 1, 0)
    cond = uncond
    for i, x0 in enumerate(each):
      cond = cond + append_dims(prompt_weights[:, i], x) * (x0 - uncond)
    return cond, uncond
  def cond_only(x, t):
    return denoise(x, t, contexts[0]) if n == 2 else both(x, t)[0]
  return both, cond_only


def networks(main, weak):
  """Autoguidance, (x, t) -> x0 against that of a weaker one: arXiv:2406.02507 eq. 3."""
  return (lambda x, t: (main(x, t), weak(x, t))), main


# Rules.

def cfg():
  """uncond + scale (cond - uncond): arXiv:2207.12598 eq. 6."""
  return stateless(lambda x, t, cond, uncond, scale: uncond + scale * (cond - uncond))


def apg(eta: float = 0.0, bound: float = 0.0, momentum: float = 0.0):
  """Adaptive projected guidance, arXiv:2410.02416 alg. 1.

  Args:
    eta: share that is kept of cond - uncond along `cond`, which saturates; 1 is cfg.
    bound: greatest norm of the difference over a picture; 0 for any.
    momentum: weight of earlier differences; negative values push away from them.
  """
  specs.not_negative(bound=bound)
  def combine(x, t, cond, uncond, scale, state):
    change = cond - uncond
    if momentum:
      change = state = change + momentum * state
    if bound:
      norm = jnp.sqrt(mean(change**2) * change[0].size)
      change = change * jnp.minimum(1, bound / jnp.maximum(norm, 1e-12))
    along = mean(change * cond) / jnp.maximum(mean(cond**2), 1e-12) * cond
    return cond + (scale - 1) * (change - along + eta * along), state
  return Rule(jnp.zeros_like if momentum else lambda x: (), combine, not momentum)


def zero_star(schedule, zero_above: float = 1.0):
  """CFG-Zero*, arXiv:2503.18886 alg. 1, for networks of straight paths.

  `uncond` is scaled to fit `cond` best, both as velocities. zero_above: t from which
  the velocity is zero; 1 zeroes the first step alone, more than 1 none.
  """
  def combine(x, t, cond, uncond, scale):
    alpha, sigma = schedule(t)
    x = x / append_dims(alpha + sigma, x)  # as on the path alpha + sigma = 1
    to_cond, to_uncond = x - cond, x - uncond  # velocities times sigma
    fit = mean(to_cond * to_uncond) / jnp.maximum(mean(to_uncond**2), 1e-12)
    velocity = fit * to_uncond + scale * (to_cond - fit * to_uncond)
    return x - velocity * append_dims(t < zero_above, x)
  return stateless(combine)


RULES = {'cfg': cfg, 'apg': apg, 'zero_star': zero_star}  # options -> Rule


def rescaled(rule: Rule, schedule, target, share: float) -> Rule:
  """Takes a share of the spread back to that of `cond`, in the space of the target that
  the network predicts: arXiv:2305.08891 eq. 16."""
  def combine(x, t, cond, uncond, scale, state):
    x0, state = rule.combine(x, t, cond, uncond, scale, state)
    guided, wanted = (
        process.convert(process.x0, target, x0, x, *schedule(t)) for x0 in (x0, cond))
    spread = lambda x: jnp.sqrt(mean((x - mean(x)) ** 2))
    factor = spread(wanted) / jnp.maximum(spread(guided), 1e-12)
    guided = guided * (share * factor + 1 - share)
    return process.to_x0(target, guided, x, *schedule(t)), state
  return rule._replace(combine=combine)


# How much, when.

def linear(start: float = 0.0, end: float = 2.0):
  """scale - 1 times what leads from `start` at noise to `end`, arXiv:2404.13040."""
  return lambda t, scale: 1 + (scale - 1) * (end + (start - end) * t)


def cosine(power: float = 1.0):
  """scale - 1 times (1 - cos(pi (1 - t)^power)) / 2: arXiv:2303.14389."""
  specs.above_zero(power=power)
  return lambda t, scale: 1 + (scale - 1) * jnp.sin(jnp.pi / 2 * (1 - t) ** power) ** 2


OVER_TIME = {  # options -> ((t, scale) -> scale)
    'constant': lambda: lambda t, scale: scale, 'linear': linear, 'cosine': cosine}


def guided(both, cond_only, rule: Rule, scale, over_time=None,
           interval=(0.0, 1.0)) -> Guided:
  """A denoiser led by a rule, within an interval of times: arXiv:2404.07724.

  scale: f32[]; 1 follows `cond` alone, more exaggerates its difference from `uncond`.
  over_time: (t, scale) -> scale; None leaves it. interval: (low, high): outside
  low < t <= high only `cond_only` is evaluated.
  """
  low, high = interval
  def combined(x, t, state):
    now = append_dims(over_time(t, scale) if over_time else scale, x)
    (cond, variance), (uncond, _) = (split_variance(x0, x) for x0 in both(x, t))
    x0, state = rule.combine(x, t, cond, uncond, now, state)
    return jnp.concatenate([x0, variance], -1), state
  def denoise(x, t, state):
    if low <= 0 and high >= 1:
      return combined(x, t, state)
    inside = (low < t) & (t <= high)
    x0, state = jax.lax.cond(
        jnp.any(inside), combined, lambda x, t, s: (cond_only(x, t), s), x, t, state)
    if jnp.ndim(t):  # solvers that give each picture a time of its own
      x0 = jnp.where(append_dims(inside, x), x0, cond_only(x, t))
    return x0, state
  return Guided(rule.init, denoise, rule.stateless)


# Keeping x0 in range.

def static(bound: float = 1.0):
  """Clips x0 to [-bound, bound], as pictures are (arXiv:2006.11239, section 3.2)."""
  specs.above_zero(bound=bound)
  return lambda x0: jnp.clip(x0, -bound, bound)


def dynamic(percentile: float = 0.995, most: float = 1e9):
  """Dynamic thresholding, Imagen, arXiv:2205.11487 section 2.3.

  Each picture is clipped at that percentile of its |x0|, if it is above 1 (and at most
  `most`), and divided by it.
  """
  specs.above_zero(percentile=percentile)
  specs.between(0, 1, percentile=percentile)
  specs.between(1, math.inf, most=most)
  def threshold(x0):
    axes = tuple(range(1, x0.ndim))
    size = jnp.quantile(jnp.abs(x0), percentile, axes, keepdims=True).clip(1.0, most)
    return jnp.clip(x0, -size, size) / size
  return threshold


CLIPS = {  # options -> (x0 -> x0)
    'none': lambda: lambda x0: x0, 'static': static, 'dynamic': dynamic}


def clipped(guided: Guided, clip) -> Guided:
  """Applies `clip`, x0 -> x0, to what a denoiser returns."""
  def denoise(x, t, state):
    out, state = guided.denoise(x, t, state)
    x0, variance = split_variance(out, x)
    return jnp.concatenate([clip(x0), variance], -1), state
  return guided._replace(denoise=denoise)
