"""Commands of an installed package, from any folder."""
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

from console import scripts

ROOT = pathlib.Path(scripts.ROOT)
PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())


def test_every_command_has_a_script():
  declared = PROJECT['project']['scripts']
  assert set(declared) == set(scripts.COMMANDS)
  assert set(declared.values()) == {'console.scripts:run'}
  ran = {str(path.relative_to(ROOT).with_suffix('')).replace('/', '.')
         for room in ('*.py', 'data/*.py', 'interop/*.py') for path in ROOT.glob(room)
         if '  command.run(' in path.read_text()}
  assert ran == set(scripts.COMMANDS.values())
  assert {name for name in ran if '.' not in name} == set(
      PROJECT['tool']['setuptools']['py-modules'])


def test_every_room_and_every_shipped_file_is_of_the_package():
  found = PROJECT['tool']['setuptools']['packages']['find']['include']
  rooms = {path.parent.name for path in ROOT.glob('*/__init__.py')} | {'weights'}
  assert {f'{room}*' for room in rooms - {'tests', 'benchmarks'}} == set(found)
  shipped = ('configs', 'weights/shapes', 'weights/features', 'evaluation/report',
             'inference/playground')
  endings = {f'*{path.suffix}' for room in shipped
             for path in (ROOT / room).rglob('*.*')} - {'*.py', '*.pyc'}
  assert endings <= set(PROJECT['tool']['setuptools']['package-data']['*'])


@pytest.mark.parametrize('word, want', [
    ('--config=configs/shapes.py', f'--config={ROOT}/configs/shapes.py'),
    ('--config=configs/papers/dit.py:b,reduced',
     f'--config={ROOT}/configs/papers/dit.py:b,reduced'),
    ('--workdir=weights/shapes', f'--workdir={ROOT}/weights/shapes'),
    ('--config=configs/own.py', None), ('--workdir=weights/none', None),
    ('--prompt=a red circle', None), ('--help', None)])
def test_what_the_package_ships_is_found_unless_it_is_here(word, want, tmp_path,
                                                           monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs' / 'own.py').touch()
  assert scripts.shipped(word) == (want or word)
  (tmp_path / 'configs' / 'shapes.py').touch()
  assert scripts.shipped('--config=configs/shapes.py') == '--config=configs/shapes.py'


def test_a_script_runs_in_another_folder(tmp_path):
  run = ('import sys; sys.argv[0] = "bin/t2i-convert"\n'
         'from console.scripts import run; run()')
  done = subprocess.run([sys.executable, '-c', run, 'none.pth', '--out=a.safetensors'],
                        cwd=tmp_path, env=os.environ | {'PYTHONPATH': str(ROOT)},
                        capture_output=True, text=True)
  assert done.returncode == 2
  assert done.stderr.startswith('interop.convert: ') and 'none.pth' in done.stderr
