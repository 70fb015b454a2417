r"""Times how long a config's whole training step takes to trace and to lower.

python benchmarks/lower.py --config=configs/papers/sd3.py:3.5-large --devices=64

The devices are simulated on the CPU, and nothing is made but shapes: the step has the
frozen autoencoder and text encoders, the optimizer and the averages in it.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEVICES = [word.partition('=')[2] for word in sys.argv if word.startswith('--devices=')]
os.environ['XLA_FLAGS'] = ('--xla_force_host_platform_device_count='
                           + (DEVICES or ['64'])[-1])
os.environ['JAX_PLATFORMS'] = 'cpu'

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

import cli
import drawing
from training import ema, loss as losses, mesh as meshes, optim, specs
from training import state as states, step as steps


def define_flags():
  cli.define_config()
  flags.DEFINE_integer('devices', 64, 'How many, all of them config.mesh.fsdp.',
                       lower_bound=1)


def main(flag):
  c = flag.config
  mesh = meshes.make(1, flag.devices, 1)
  model = drawing.build_model(c, c.tokenizer.vocab)
  draw, loss = losses.make(model, c.diffusion, np.zeros(c.tokenizer.length, np.int32))
  optimizer, rate = optim.make(c.optim, c.train.steps)
  profiles = [specs.make(ema.PROFILES, spec, 'optim.ema') for spec in c.optim.ema]

  start = time.perf_counter()
  shapes = jax.eval_shape(lambda key: states.fresh(
      lambda key: drawing.init_params(model, c, key), optimizer, key, len(profiles),
      lambda params: optim.frozen(c.optim, params)), jax.random.key(0))
  shardings = states.state_shardings(shapes, mesh)
  made = time.perf_counter()
  def batch_of(*shape, dtype):
    return jax.ShapeDtypeStruct((c.train.batch, *shape), dtype)
  batch = {'image': batch_of(c.data.size, c.data.size, 3, dtype=jnp.uint8),
           'tokens': batch_of(c.tokenizer.length, dtype=jnp.int32)}
  step = steps.compiled(steps.make(draw, loss, optimizer, rate, profiles,
                                   accumulate=c.train.accumulate), shardings, mesh)
  traced = step.trace(shapes, batch, jax.eval_shape(lambda: jax.random.key(0)))
  after = time.perf_counter()
  traced.lower()
  end = time.perf_counter()
  count, kept = (sum(x.size for x in jax.tree.leaves(tree))
                 for tree in (shapes.params, shapes.frozen))
  print(f'{count:,} parameters, {kept:,} more frozen, {flag.devices} devices: '
        f'{made - start:.1f} s for the shapes of the state, {after - made:.1f} s to '
        f'trace the step, {end - after:.1f} s to lower it')


if __name__ == '__main__':
  cli.run(main, define_flags)
