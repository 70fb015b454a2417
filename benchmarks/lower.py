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

from console import command, options
import training
from training import sharding, train_state


def define_flags():
  options.define_config()
  flags.DEFINE_integer('devices', 64, 'Number of devices, all of them '
                       'config.mesh.fsdp.', lower_bound=1)


def main(flag):
  c = options.needed_config(flag)
  start = time.perf_counter()
  built = training.build(c, sharding.make_mesh(1, flag.devices, 1))
  made = time.perf_counter()
  traced = built.step.trace(built.shapes, built.batch_shapes,
                            jax.eval_shape(lambda: jax.random.key(0)))
  after = time.perf_counter()
  traced.lower()
  end = time.perf_counter()
  count, kept = map(train_state.count, (built.shapes.params, built.shapes.frozen))
  print(f'{count:,} parameters, {kept:,} more frozen, {flag.devices} devices: '
        f'{made - start:.1f} s for the shapes of the state, {after - made:.1f} s to '
        f'trace the step, {end - after:.1f} s to lower it')


if __name__ == '__main__':
  command.run(main, define_flags)
