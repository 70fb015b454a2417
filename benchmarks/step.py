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

from console import command, options
from data import loader, sources, tokenizers
import training
from training import sharding


def define_flags():
  options.define_config()
  flags.DEFINE_integer('steps', 60, 'Number of steps to time, each way.',
                       lower_bound=1)


def main(flag):
  c = options.needed_config(flag)
  sources.prepare(c.data)
  pictures = sources.Pictures(c.data)
  tokenizer = tokenizers.train(pictures.captions(), c.tokenizer.vocab)
  mesh, key = sharding.make_mesh(**c.mesh), jax.random.key(0)
  built = training.build(
      c, mesh, vocab=tokenizer.get_vocab_size(),
      null_tokens=tokenizers.encode(tokenizer, '', c.tokenizer.length)[0])
  state, step = built.create(), built.step
  batches = loader.batches(pictures, tokenizer, length=c.tokenizer.length,
                           batch=c.train.batch, seed=0, workers=c.data.workers,
                           threads=c.data.threads)
  batch = sharding.shard_local(next(batches), mesh)
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
    state, metrics = step(state, sharding.shard_local(host, mesh), key)
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
  command.run(main, define_flags)
