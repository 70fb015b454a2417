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

from diffusion import guidance, sampling, schedules, solvers
from diffusion.gaussian import Gaussian

DATA = Gaussian(0.3, 0.5)
SHAPE = (2, 2, 1)
MARK = '<!-- written by benchmarks/solvers.py -->\n'
ROWS = [  # solver, its options, names in diffusers (a scheduler) and k-diffusion
    ('ddim', {}, 'DDIM, EDMEuler', 'euler'),
    ('ddim', {'eta': 0.5}, 'DDIM', 'euler_ancestral'),
    ('ddpm', {}, 'DDPM', 'euler_ancestral'),
    ('ddpm', {'variance': 'large'}, 'DDPM (fixed_large)', ''),
    ('euler_ancestral', {}, 'EulerAncestralDiscrete', 'euler_ancestral'),
    ('lcm', {}, 'LCM', ''),
    ('tcd', {}, 'TCD', ''),
    ('euler', {}, 'EulerDiscrete, FlowMatchEulerDiscrete', 'euler'),
    ('heun', {}, 'FlowMatchHeunDiscrete', ''),
    ('heun', {'of_ratio': True}, 'HeunDiscrete', 'heun'),
    ('edm', {}, '', 'heun (s_churn)'),
    ('dpm2', {}, 'KDPM2Discrete', 'dpm_2'),
    ('dpm2', {'eta': 1.0}, 'KDPM2AncestralDiscrete', 'dpm_2_ancestral'),
    ('dpmpp_2s', {}, '', 'dpmpp_2s_ancestral (eta 0)'),
    ('dpmpp_2s', {'eta': 1.0}, '', 'dpmpp_2s_ancestral'),
    ('dpmpp_singlestep', {}, 'DPMSolverSinglestep', ''),
    ('dpmpp_2m', {}, 'DPMSolverMultistep, EDMDPMSolverMultistep', 'dpmpp_2m'),
    ('dpmpp_2m', {'middle': False}, 'DPMSolverMultistep (heun)', ''),
    ('dpmpp_2m_sde', {}, 'DPMSolverMultistep (sde-dpmsolver++)', 'dpmpp_2m_sde'),
    ('dpmpp_3m', {}, '', ''),
    ('dpmpp_3m', {'halved': True}, '', 'dpmpp_3m_sde (eta 0)'),
    ('dpmpp_3m', {'halved': True, 'eta': 1.0}, '', 'dpmpp_3m_sde'),
    ('dpmpp', {}, 'DPMSolverMultistep', 'dpmpp_2m'),
    ('dpmpp', {'order': 3}, 'DPMSolverMultistep (3)', ''),
    ('dpm', {}, 'DPMSolverMultistep (dpmsolver)', ''),
    ('unipc', {}, 'UniPCMultistep', ''),
    ('unipc', {'order': 3}, 'UniPCMultistep (3)', ''),
    ('deis', {'order': 2}, 'DEISMultistep', ''),
    ('deis', {}, 'DEISMultistep (3)', ''),
    ('lms', {}, 'LMSDiscrete', 'lms'),
    ('plms', {}, 'PNDM', ''),
]


def slow_start(start: float, end: float, steps: int):
  """Even steps after three short ones, so that memory is not what limits the order."""
  short = ((start - end) / steps)**2
  return np.concatenate([
      start - short * np.arange(3), np.linspace(start - 3 * short, end, steps + 1)])


def order_of(solver, schedule) -> float:
  """By how many powers of two the error falls when steps are halved. In float64."""
  errors, start, end = [], 0.8, 0.3
  keys = jax.random.split(jax.random.key(0), 4)
  first = sampling.marginal(schedule, jnp.float64(start),
                            sampling.initial_noise(keys, SHAPE))
  denoise = guidance.unguided(DATA.denoiser(schedule))
  step = jax.jit(lambda *args: sampling.advance(denoise, solver, *args, keys))
  for steps in (80, 160):
    carry = first, solver.init(first), ()
    times = slow_start(start, end, steps)
    for i, (t, s) in enumerate(zip(times[:-1], times[1:])):
      carry = step(carry, t, s)
      if i < 3:
        carry = DATA.flow(schedule, first, start, s), *carry[1:]
    exact = DATA.flow(schedule, first, start, end)
    errors.append(float(jnp.abs(carry[0] - exact).max()))
  return math.log2(errors[0] / errors[1])


def evaluations(solver, steps: int = 20) -> int:
  """How often it evaluates the network from t = 1 to 0."""
  count, keys = [], jax.random.split(jax.random.key(0), 1)
  def denoise(x, t):
    jax.debug.callback(lambda: count.append(1))
    return DATA.denoiser(schedules.flow)(x, t)
  jax.block_until_ready(sampling.sample(
      guidance.unguided(denoise), solver, sampling.initial_noise(keys, SHAPE),
      jnp.linspace(1, 0, steps + 1), keys))
  jax.effects_barrier()
  return len(count)


def memory(solver) -> int:
  """What it keeps from step to step beside x, in pictures."""
  x = jax.ShapeDtypeStruct((3, 5, 7, 1), jnp.float32)
  state = jax.eval_shape(solver.init, x)
  return sum(leaf.size for leaf in jax.tree.leaves(state)) // x.size


def table(order) -> str:
  """The table, in Markdown. order: (name, options, solver) -> text."""
  lines = ['| solver | options | order | evaluations in 20 steps | pictures kept '
           '| diffusers | k-diffusion |', '|-|-|-|-|-|-|-|']
  for name, options, diffusers, k_diffusion in ROWS:
    solver = solvers.SOLVERS[name](schedules.flow, **options)
    said = ', '.join(f'{k}={v!r}' for k, v in options.items())
    cells = (f'`{name}`', f'`{said}`' if said else '', order(name, options, solver),
             evaluations(solver), memory(solver), diffusers, k_diffusion)
    lines.append('| ' + ' | '.join(str(cell) for cell in cells) + ' |')
  return '\n'.join(lines) + '\n'


def main():
  def order(name, options, solver):
    if solver.stochastic:
      return 'draws noise'
    with jax.enable_x64():
      made = solvers.SOLVERS[name](schedules.linear, **options)
      return str(round(order_of(made, schedules.linear)))
  path = os.path.join(ROOT, 'docs', 'solvers.md')
  with open(path, encoding='utf-8') as f:
    before, _, after = f.read().split(MARK)
  with open(path, 'w', encoding='utf-8') as f:
    f.write(MARK.join([before, '\n' + table(order) + '\n', after]))
  print(path)


if __name__ == '__main__':
  main()
