"""A very small config, and how XLA compiles for tests."""
from importlib import metadata

from configs import base

# Programs of tests run for a moment: compile them fast rather than well.
FAST = ('--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true '
        '--xla_cpu_parallel_codegen_split_count=1')
if metadata.version('jaxlib').startswith('0.10.'):  # later ones know no such flag
  FAST += ' --xla_cpu_use_fusion_emitters=false'
DIT = dict(name='dit', width=16, depth=1, heads=2, patch=4)


def tiny(folder):
  """A config of a very small U-Net and of 256 pictures, prepared in `folder`."""
  c = base.get_config()
  c.data.update(dict(dir=folder, size=16, pictures=256))
  c.tokenizer.update(dict(vocab=300, length=16))
  c.model.update(dict(width=8, channel_mult=(1,), num_res_blocks=1, attention=(0,),
                      head_width=8, groups=4, patch=4, positions=True))
  c.condition.update(dict(width=16, depth=1, heads=2))
  c.train.update(dict(steps=8, batch=8, log_every=2, checkpoint_every=4))
  c.optim.update(dict(warmup=2, lr=5e-3))
  c.sample.update(dict(steps=3, batch=8, num=2))
  return c
