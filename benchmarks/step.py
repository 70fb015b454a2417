r"""Times the training step of a config, with and without its loader.

python benchmarks/step.py --config=configs/shapes.py

Prints images a second of the step alone (the same batch again and again) and of the
loop as train.py runs it, the share of the loop spent waiting for data, and how many
programs were compiled after the first steps.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags
import jax

import cli
from data import loader, tokenizers
import drawing
import train
from training import ema, loss as losses, mesh as meshes, optim, state as states
from training import step as steps


def define_flags():
  cli.define_config()
  flags.DEFINE_integer('steps', 60, 'To time, each way.', lower_bound=1)


def main(flag):
  c = flag.config
  pictures = train.prepare_data(c)
  tokenizer = tokenizers.train(pictures.captions(), c.tokenizer.vocab)
  model = drawing.build_model(c, tokenizer.get_vocab_size())
  empty = drawing.tokens_of(tokenizer, [''], c.tokenizer.length)[0]
  draw, loss = losses.make(model, c.diffusion, empty)
  optimizer, rate = optim.make(c.optim, c.train.steps)
  mesh, key = meshes.make(**c.mesh), jax.random.key(0)
  state, shardings = states.create(
      lambda key: drawing.init_params(model, c, key), optimizer, mesh, key,
      frozen=lambda params: optim.frozen(c.optim, params))
  step = steps.compiled(
      steps.make(draw, loss, optimizer, rate, [ema.exponential()],
                 accumulate=c.train.accumulate), shardings, mesh)
  batches = loader.batches(pictures, tokenizer, length=c.tokenizer.length,
                           batch=c.train.batch, seed=0, workers=c.data.workers,
                           threads=c.data.threads)
  batch = meshes.to_devices(next(batches), mesh)
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
      lambda name, *_, **__: 'backend_compile' in name and compiled.append(name))
  for _ in range(3):
    state, metrics = step(state, batch, key)
  jax.block_until_ready(metrics)
  compiled.clear()

  start = time.perf_counter()
  for _ in range(flag.steps):
    state, metrics = step(state, batch, key)
  jax.block_until_ready(metrics)
  alone = time.perf_counter() - start

  waited, start = 0.0, time.perf_counter()
  for _ in range(flag.steps):
    before = time.perf_counter()
    host = next(batches)
    waited += time.perf_counter() - before
    state, metrics = step(state, meshes.to_devices(host, mesh), key)
  jax.block_until_ready(metrics)
  loop = time.perf_counter() - start

  n = flag.steps * c.train.batch
  device = jax.devices()[0]
  print(f'{mesh.devices.size} x {device.device_kind} ({device.platform}), '
        f'batch {c.train.batch}, {c.model.dtype}')
  print(f'step alone {n / alone:.1f} images/s, {1e3 * alone / flag.steps:.1f} ms each')
  print(f'with loader {n / loop:.1f} images/s, {waited / loop:.2%} waiting for data')
  print(f'{len(compiled)} programs compiled after the first steps')


if __name__ == '__main__':
  cli.run(main, define_flags)
