"""Eight simulated devices, and the small things that many tests share."""
import os
import pathlib

from helpers.tiny import FAST, tiny

os.environ['XLA_FLAGS'] = f'{FAST} --xla_force_host_platform_device_count=8'
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest

from data import sources, tokenizers

# Many tests compile the same small programs; so does the next run of the tests.
jax.config.update('jax_compilation_cache_dir', '.cache/jax')
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.3)
HERE = pathlib.Path(__file__).parent
LONG = ('commands', 'training/test_train_step', 'commands/test_sweep', 'models',
        'test_papers')


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


@pytest.fixture(scope='session')
def pictures(config):
  sources.prepare(config.data)
  return sources.Pictures(config.data, 'train')


@pytest.fixture(scope='session')
def tokenizer(config, pictures):
  return tokenizers.train(pictures.captions(), config.tokenizer.vocab)
