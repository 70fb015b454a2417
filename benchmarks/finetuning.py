"""Memory of a training step, of all parameters and of adapters alone.

    python benchmarks/finetuning.py configs/finetune/lora.py:sd15 [batch] [size]

Nothing is run: the state is counted by its shapes, what the step needs beside it is
what XLA says of the compiled program, for the platform that JAX finds here.
"""
import importlib
import sys

import jax

from configs import base
import training
from training import sharding, train_state


def config_of(name: str):
  path, _, words = name.partition(':')
  module = importlib.import_module(path.removesuffix('.py').replace('/', '.'))
  return module.get_config(*[words] if words else [])


def trained_whole(c):
  """The same run, of the whole backbone in float32."""
  c = c.copy_and_resolve_references()
  c.lora = base.get_config().lora
  c.optim.lr_scale = (('backbone/.*', 1.0), ('.*', 0.0))
  return c


def measure(c) -> dict:
  """Numbers that are trained and frozen, and bytes of the state and of a step."""
  made = training.build(c, sharding.make_mesh(1))
  key = jax.eval_shape(lambda: jax.random.key(0))
  step = made.step.lower(made.shapes, made.batch_shapes, key).compile()
  def size(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
  return {'trained': train_state.count(made.shapes.params),
          'frozen': train_state.count(made.shapes.frozen),
          'state': size(made.shapes), 'step': step.memory_analysis().temp_size_in_bytes}


def main(name, batch='1', size='256'):
  c = config_of(name)
  c.train.batch = int(batch)
  c.data.size = int(size)
  for what, each in (('adapters', c), ('all of the backbone', trained_whole(c))):
    found = measure(each)
    print(f'{what}: trained {found["trained"]:,}, frozen {found["frozen"]:,}; state '
          f'{found["state"] / 2**30:.2f} GiB, a step {found["step"] / 2**30:.2f} GiB '
          'more', flush=True)


if __name__ == '__main__':
  main(*sys.argv[1:])
