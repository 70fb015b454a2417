"""Eight simulated devices, and the small things that many tests share."""
from importlib import metadata
import os
import pathlib

# Programs of tests run for a moment: compile them fast rather than well.
FAST = ('--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true '
        '--xla_cpu_parallel_codegen_split_count=1')
if metadata.version('jaxlib').startswith('0.10.'):  # later ones know no such flag
  FAST += ' --xla_cpu_use_fusion_emitters=false'
os.environ['XLA_FLAGS'] = f'{FAST} --xla_force_host_platform_device_count=8'
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest

from configs import base
from data import sources, tokenizers

# Many tests compile the same small programs; so does the next run of the tests.
jax.config.update('jax_compilation_cache_dir', '.cache/jax')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
HERE = pathlib.Path(__file__).parent


LONG = ('scripts', 'training/test_step', 'test_sweep', 'models', 'test_papers')


def pytest_collection_modifyitems(items):
  """Long files are begun first, so that two workers end at the same time."""
  def place(item):
    name = item.path.relative_to(HERE).as_posix()
    return [name.startswith(start) for start in LONG]
  items.sort(key=place, reverse=True)


@pytest.fixture(scope='session')
def config(tmp_path_factory):
  """A config of a very small model and of 256 pictures."""
  return tiny(str(tmp_path_factory.mktemp('data')))


def tiny(folder):
  c = base.get_config()
  c.data.update(dict(dir=folder, size=16, pictures=256))
  c.tokenizer.update(dict(vocab=300, length=16))
  c.model.update(dict(width=8, mults=(1,), blocks=1, attention=(0,), head_width=8,
                      groups=4, patch=4, positions=True))
  c.condition.update(dict(width=16, depth=1, heads=2))
  c.train.update(dict(steps=8, batch=8, log_every=2, checkpoint_every=4))
  c.optim.update(dict(warmup=2, lr=5e-3))
  c.sample.update(dict(steps=3, batch=8, num=2))
  return c


@pytest.fixture(scope='session')
def pictures(config):
  sources.prepare(config.data)
  return sources.Pictures(config.data, 'train')


@pytest.fixture(scope='session')
def tokenizer(config, pictures):
  return tokenizers.train(pictures.captions(), config.tokenizer.vocab)
