"""A folder to run scripts in, and what runs them."""
import pytest

from conftest import tiny
import scripts as forks

DIT = dict(name='dit', width=16, depth=1, heads=2, patch=4)


@pytest.fixture(scope='session')
def root(tmp_path_factory):
  """Holds tiny.py, a transformer, which compiles fast; unet.py is the default."""
  folder = tmp_path_factory.mktemp('scripts')
  unet = tiny(str(folder / 'data')).to_dict()
  for name, c in (('unet', unet), ('tiny', unet | {'model': DIT})):
    (folder / f'{name}.py').write_text(
        f'from ml_collections import ConfigDict\n\ndef get_config():\n'
        f'  return ConfigDict({c!r})\n')
  return folder


@pytest.fixture(scope='session')
def scripts(root):
  made = forks.Scripts(root)
  yield made
  made.close()
