r"""Measures every solver and writes the table of docs/solvers.md.

python benchmarks/solvers.py

Order: in float64 on Gaussian data, whose exact path is known, between t = 0.8 and 0.3
of the linear schedule. Evaluations: counted, in 20 steps from t = 1 to 0. Memory: what
a solver keeps from step to step beside x, in pictures.
"""
import math
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import jax
import jax.numpy as jnp
import numpy as np

from diffusion import sampling, schedule, solvers

MEAN, STD = 0.3, 0.5  # of the data
SHAPE = (2, 2, 1)
MARK = '<!-- written by benchmarks/solvers.py -->\n'
ROWS = [  # solver, its options, names in diffusers (a scheduler) and k-diffusion
    ('ddim', {}, 'DDIM, EDMEuler', 'euler'),
    ('ddim', {'eta': 0.5}, 'DDIM', 'euler_ancestral'),
    ('ddpm', {}, 'DDPM', 'euler_ancestral'),
    ('ddpm', {'variance': 'large'}, 'DDPM (fixed_large)', ''),
    ('euler_ancestral', {}, 'EulerAncestralDiscrete', 'euler_ancestral'),
    ('lcm', {}, 'LCM', ''),
    ('euler', {}, 'EulerDiscrete, FlowMatchEulerDiscrete', 'euler'),
    ('heun', {}, 'HeunDiscrete', 'heun'),
    ('edm', {}, '', 'heun (s_churn)'),
    ('dpmpp_2s', {}, 'DPMSolverSinglestep', 'dpmpp_2s_ancestral (eta 0)'),
    ('dpmpp_2s', {'eta': 1.0}, '', 'dpmpp_2s_ancestral'),
    ('dpmpp_2m', {}, 'DPMSolverMultistep, EDMDPMSolverMultistep', 'dpmpp_2m'),
    ('dpmpp_2m', {'middle': False}, 'DPMSolverMultistep (heun)', ''),
    ('dpmpp_2m_sde', {}, 'DPMSolverMultistep (sde-dpmsolver++)', 'dpmpp_2m_sde'),
    ('dpmpp_3m', {}, '', ''),
    ('dpmpp_3m', {'halved': True}, 'DPMSolverMultistep (3)', 'dpmpp_3m_sde (eta 0)'),
    ('dpmpp_3m', {'halved': True, 'eta': 1.0}, '', 'dpmpp_3m_sde'),
    ('unipc', {}, 'UniPCMultistep', ''),
    ('unipc', {'order': 3}, 'UniPCMultistep (3)', ''),
    ('deis', {'order': 2}, 'DEISMultistep', ''),
    ('deis', {}, 'DEISMultistep (3)', ''),
    ('lms', {}, 'LMSDiscrete', 'lms'),
]


def denoiser(noise):
  """The mean of x0 given x, for x0 ~ N(MEAN, STD^2). t: f32[] or f32[b]."""
  def denoise(x, t):
    alpha, sigma = (jnp.reshape(v, (-1, 1, 1, 1)) for v in noise(t))
    gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
    return MEAN + gain * (x - alpha * MEAN)
  return denoise


def exact(noise, x, t, s):
  """Where the probability-flow ODE takes x from time t to s.

  It keeps z in x = alpha MEAN + sqrt(alpha^2 STD^2 + sigma^2) z.
  """
  spread = lambda alpha, sigma: jnp.sqrt(alpha**2 * STD**2 + sigma**2)
  now, then = noise(t), noise(s)
  return then[0] * MEAN + spread(*then) / spread(*now) * (x - now[0] * MEAN)


def slow_start(start: float, end: float, steps: int):
  """Even steps after three short ones, so that memory is not what limits the order."""
  short = ((start - end) / steps)**2
  return np.concatenate([
      start - short * np.arange(3), np.linspace(start - 3 * short, end, steps + 1)])


def order_of(solver, noise) -> float:
  """By how many powers of two the error falls when steps are halved. In float64."""
  errors, start, end = [], 0.8, 0.3
  keys = jax.random.split(jax.random.key(0), 4)
  first = sampling.prior(noise, jnp.float64(start),
                         sampling.initial_noise(keys, SHAPE))
  step = jax.jit(lambda *args: solver.step(denoiser(noise), *args, keys))
  for steps in (80, 160):
    x, state = first, solver.init(first)
    times = slow_start(start, end, steps)
    for i, (t, s) in enumerate(zip(times[:-1], times[1:])):
      x, state = step(x, state, t, s)
      if i < 3:
        x = exact(noise, first, start, s)
    errors.append(float(jnp.abs(x - exact(noise, first, start, end)).max()))
  return math.log2(errors[0] / errors[1])


def random(name: str, options: dict) -> bool:
  """Whether a solver draws noise."""
  default = {'ddpm': 1, 'euler_ancestral': 1, 'lcm': 1, 'edm': 1, 'dpmpp_2m_sde': 1}
  return bool(options.get('eta', default.get(name, 0)))


def evaluations(solver, steps: int = 20) -> int:
  """How often it evaluates the network from t = 1 to 0."""
  count, keys = [], jax.random.split(jax.random.key(0), 1)
  def denoise(x, t):
    jax.debug.callback(lambda: count.append(1))
    return denoiser(schedule.flow)(x, t)
  jax.block_until_ready(sampling.sample(
      denoise, solver, sampling.initial_noise(keys, SHAPE),
      jnp.linspace(1, 0, steps + 1), keys))
  jax.effects_barrier()
  return len(count)


def memory(solver) -> int:
  """What it keeps from step to step beside x, in pictures."""
  x = jax.ShapeDtypeStruct((3, 5, 7, 1), jnp.float32)
  state = jax.eval_shape(solver.init, x)
  return sum(leaf.size for leaf in jax.tree.leaves(state)) // x.size


def table(order) -> str:
  """The table, in Markdown. order: (name, options) -> text."""
  lines = ['| solver | options | order | evaluations in 20 steps | pictures kept '
           '| diffusers | k-diffusion |', '|-|-|-|-|-|-|-|']
  for name, options, diffusers, k_diffusion in ROWS:
    solver = solvers.SOLVERS[name](schedule.flow, **options)
    said = ', '.join(f'{k}={v!r}' for k, v in options.items())
    cells = (f'`{name}`', f'`{said}`' if said else '', order(name, options),
             evaluations(solver), memory(solver), diffusers, k_diffusion)
    lines.append('| ' + ' | '.join(str(cell) for cell in cells) + ' |')
  return '\n'.join(lines) + '\n'


def main():
  def order(name, options):
    if random(name, options):
      return 'draws noise'
    with jax.enable_x64():
      made = solvers.SOLVERS[name](schedule.linear, **options)
      return str(round(order_of(made, schedule.linear)))
  path = os.path.join(ROOT, 'docs', 'solvers.md')
  with open(path, encoding='utf-8') as f:
    before, _, after = f.read().split(MARK)
  with open(path, 'w', encoding='utf-8') as f:
    f.write(MARK.join([before, '\n' + table(order) + '\n', after]))
  print(path)


if __name__ == '__main__':
  main()
