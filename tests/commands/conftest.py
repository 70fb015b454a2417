"""A folder to run commands in, and what runs them."""
import pytest

from helpers.commands import Commands
from helpers.tiny import DIT, tiny


@pytest.fixture(scope='session')
def root(tmp_path_factory):
  """Holds tiny.py, a transformer, which compiles fast; unet.py is the default."""
  folder = tmp_path_factory.mktemp('commands')
  unet = tiny(str(folder / 'data')).to_dict()
  for name, c in (('unet', unet), ('tiny', unet | {'model': DIT})):
    (folder / f'{name}.py').write_text(
        f'from configs import base\nfrom ml_collections import ConfigDict\n\n'
        f'def get_config():\n  return base.lock(ConfigDict({c!r}))\n')
  return folder


@pytest.fixture(scope='session')
def commands(root):
  made = Commands(root)
  yield made
  made.close()
