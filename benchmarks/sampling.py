r"""Times the sampling loop against the network alone, and guidance in half of the time.

python benchmarks/sampling.py --config=configs/shapes.py

Prints, each as the median over rounds that take turns: a compiled scan of 50 steps of
DDIM over 50 single evaluations of the compiled network; and guidance over half of the
steps over guidance at all of them.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from configs import base
from console import command, options
from diffusion import Process, guidance, process, sampling, schedules, solvers
import models
from models import Scalars

STEPS = 50


def define_flags():
  options.define_config()
  flags.DEFINE_integer('batch', 16, 'Number of pictures at once.', lower_bound=1)
  flags.DEFINE_integer('rounds', 7, 'Number of rounds of each measurement.',
                       lower_bound=1)


def seconds(call) -> float:
  start = time.perf_counter()
  jax.block_until_ready(call())
  return time.perf_counter() - start


def ratio(a, b, rounds: int) -> tuple[float, float, float]:
  """(median seconds of a, of b, median of a / b), taking turns after a first call."""
  a(), b()
  pairs = np.array([(seconds(a), seconds(b)) for _ in range(rounds)])
  return *np.median(pairs, 0), np.median(pairs[:, 0] / pairs[:, 1])


def main(flag):
  c, b = options.needed_config(flag), flag.batch
  size = base.height_width(c.data.size)
  model = models.build(c)
  params = jax.jit(lambda key: models.init_params(
      model, key, size, c.tokenizer.length))(jax.random.key(0))
  params = jax.tree.map(lambda p: p + 0.01, params)  # zeros are no network
  tokens = jnp.ones((b, c.tokenizer.length), jnp.int32)
  context = jax.jit(lambda params: model.apply(
      {'params': params}, tokens, method='encode'))(params)
  keys = jax.random.split(jax.random.key(0), b)
  x_T = sampling.initial_noise(keys, model.latent_shape(size))
  steps, times = Process(schedules.flow, process.x0), jnp.linspace(1, 0, STEPS + 1)
  method = solvers.SOLVERS['ddim'](steps.schedule)

  def predict(params, x, t, context):
    return model.apply({'params': params}, x, Scalars(t), context, method='predict')
  one = jax.jit(lambda params, x, t: predict(params, x, jnp.full(b, t), context))

  def draw(interval):
    """interval: of times with guidance; None for none at all."""
    def program(params, context, x):
      denoise = sampling.denoiser(lambda *args: predict(params, *args), steps)
      if interval is None:
        guided = guidance.unguided(lambda x, t: denoise(x, t, context))
      else:
        pair = guidance.prompts(denoise, [context], jnp.ones((b, 1)), context)
        guided = guidance.guided(*pair, guidance.cfg(), 3.0, interval=interval)
      return sampling.sample(guided, method, x, times, keys)
    compiled = jax.jit(program)
    return lambda: compiled(params, context, x_T)

  def evaluations():
    x = x_T
    for t in times[:-1]:
      x = one(params, x, t)
    return x
  scan, alone, share = ratio(draw(None), evaluations, flag.rounds)
  print(f'{STEPS} steps in one scan {scan:.3f} s, {STEPS} evaluations {alone:.3f} s, '
        f'ratio {share:.3f}')
  half, full, share = ratio(draw((0.25, 0.75)), draw((0.0, 1.0)), flag.rounds)
  print(f'guidance at half of the steps {half:.3f} s, at all {full:.3f} s, '
        f'ratio {share:.3f}')


if __name__ == '__main__':
  command.run(main, define_flags)
