"""Diffusion on two moons: the maths of diffusion/ alone, on points in the plane.

python examples/two_moons.py --out=two_moons.png

A small network learns the way from noise to the points of two half circles. Then
solvers take the same noise along it, and guidance to one of the moons.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from flax import linen as nn
import jax
import jax.numpy as jnp
from matplotlib import figure
import numpy as np
import optax

from diffusion import Process, guidance, losses, process, sampling, schedules
from diffusion import solvers, time_sampling, timesteps

FLOW = Process(schedules.flow, process.flow)  # x_t = (1 - t) x0 + t eps; eps - x0
B, N, EITHER = 512, 2_000, 2  # points a step, points drawn; no moon in particular


def moons(key, n: int):
  """(points f32[n 2], the moon of each, 0 or 1: int32[n])."""
  where, off = jax.random.split(key)
  angle, moon = jnp.pi * jax.random.uniform(where, (n, 1)), jnp.arange(n) % 2
  upper = jnp.concatenate([jnp.cos(angle) - 0.5, jnp.sin(angle) - 0.25], 1)
  points = 1.5 * jnp.where(moon[:, None], -upper, upper)
  return points + 0.05 * jax.random.normal(off, (n, 2)), moon


class Network(nn.Module):
  """The velocity of points x [b 2] at times t f32[b], of a moon int32[b]."""

  @nn.compact
  def __call__(self, x, t, moon):
    waves = t[:, None] * np.pi * 2.0 ** jnp.arange(4)
    c = jnp.concatenate([jnp.sin(waves), jnp.cos(waves), jax.nn.one_hot(moon, 3)], 1)
    h = nn.Dense(128)(x) + nn.Dense(128)(c)
    for _ in range(3):
      h = h + nn.Dense(128)(nn.silu(nn.LayerNorm()(h)))
    return nn.Dense(2)(nn.silu(h))


def loss(params, key):
  """Flow matching, arXiv:2210.02747: the mean squared error of the velocity."""
  data, times, noise, drop = jax.random.split(key, 4)
  x0, moon = moons(data, B)
  moon = jnp.where(jax.random.bernoulli(drop, 0.4, (B,)), EITHER, moon)  # for guidance
  t, _ = time_sampling.draw(time_sampling.uniform(), times, B)
  return losses.denoising_terms(
      lambda x, t: Network().apply(params, x, t, moon), FLOW,
      losses.target_weight(FLOW.target), x0, t,
      jax.random.normal(noise, x0.shape))['mse'].mean()


def train(steps: int):
  """Parameters after so many steps of Adam: one scan."""
  adam = optax.adam(optax.cosine_decay_schedule(3e-3, steps), b2=0.99)
  def step(carry, key):
    params, state = carry
    updates, state = adam.update(jax.grad(loss)(params, key), state)
    return (optax.apply_updates(params, updates), state), None
  params = Network().init(jax.random.key(0), jnp.ones((1, 2)), jnp.ones(1), jnp.ones(1))
  keys = jax.random.split(jax.random.key(1), steps)
  return jax.jit(lambda start: jax.lax.scan(step, start, keys)[0])(
      (params, adam.init(params)))[0]


def draw(params, name: str, steps: int, moon: int = EITHER, scale: float = 1.0):
  """The way of N points from noise to where a solver takes them: [1+steps N 2]."""
  denoise = sampling.denoiser(
      lambda x, t, moon: Network().apply(params, x, t, moon), FLOW)
  pair = guidance.prompts(denoise, [jnp.full(N, moon)], jnp.ones((N, 1)),
                          jnp.full(N, EITHER))
  guided = guidance.guided(*pair, guidance.cfg(), scale)
  keys = jax.random.split(jax.random.key(2), N)
  noise = sampling.initial_noise(keys, (2,))
  _, way = sampling.sample(
      guided, solvers.SOLVERS[name](FLOW.schedule), noise,
      timesteps.complete(timesteps.linear(steps, FLOW.t_max)), keys, film=True)
  return jnp.concatenate([noise[None], way])


def plot(params):
  """Above the way from noise to the moons, below other choices for the same noise."""
  way, (data, moon) = draw(params, 'heun', 40), moons(jax.random.key(3), N)
  apart = np.square(np.asarray(way[-1])[:, None] - np.asarray(data)).sum(-1)
  ends = np.asarray(moon)[apart.argmin(1)]  # where each point ends: its colour
  shown = [(f't = {1 - i / 4:g}', way[10 * i]) for i in range(5)] + [
      (title, draw(params, *choice)[-1]) for title, *choice in (
          ('Euler, 4 steps', 'euler', 4), ('Heun, 4 steps', 'heun', 4),
          ('DPM-Solver++(2M), 4 steps', 'dpmpp_2m', 4), ('DDPM, 40 steps', 'ddpm', 40),
          ('one moon, guidance 2', 'heun', 40, 1, 2.0))]
  sheet = figure.Figure(figsize=(11, 4.8), layout='constrained')
  for axes, (title, points) in zip(sheet.subplots(2, 5).flat, shown):
    axes.scatter(*np.asarray(points).T, 4, np.where(ends, 'tab:orange', 'tab:blue'),
                 lw=0, alpha=0.5)
    axes.set(xlim=(-2.8, 2.8), ylim=(-2.8, 2.8), xticks=[], yticks=[], aspect='equal')
    axes.set_title(title, fontsize=10)
    axes.spines[:].set_color('lightgrey')
  return sheet


if __name__ == '__main__':
  flags = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  flags.add_argument('--out', default='two_moons.png', help='the plot')
  flags.add_argument('--steps', type=int, default=2_000, help='of training')
  flag = flags.parse_args()
  plot(train(flag.steps)).savefig(flag.out, dpi=110)
  print(flag.out)
