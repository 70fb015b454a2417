"""A folder to run scripts in, and what runs them."""
import pytest

from conftest import tiny
import scripts as forks


@pytest.fixture(scope='session')
def root(tmp_path_factory):
  folder = tmp_path_factory.mktemp('scripts')
  c = tiny(str(folder / 'data')).to_dict()
  (folder / 'tiny.py').write_text(
      f'from ml_collections import ConfigDict\n\ndef get_config():\n'
      f'  return ConfigDict({c!r})\n')
  return folder


@pytest.fixture(scope='session')
def scripts(root):
  made = forks.Scripts(root)
  yield made
  made.close()
