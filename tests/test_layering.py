"""Who may import whom: docs/design.md, enforced."""
import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ROOMS = {  # folder -> the other rooms that it may import
    'configs': set(), 'data': set(), 'diffusion': set(), 'models': set(),
    'training': {'diffusion', 'models'}, 'evaluation': {'models'},
    'interop': {'models'},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob('*.py'))]


def imported(path) -> set[str]:
  """The first part of every name that a file imports, at any depth of it."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name.split('.')[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'{path} has a relative import'
      found.add(node.module.split('.')[0])
  return found


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path):
  room = path.relative_to(ROOT).parts[0]
  ours = set(ROOMS) | {script.stem for script in ROOT.glob('*.py')}
  assert imported(path) & ours <= ROOMS[room] | {room}


def test_data_and_configs_leave_the_devices_alone():
  for path in FILES:
    if path.relative_to(ROOT).parts[0] in ('data', 'configs'):
      assert not imported(path) & {'jax', 'flax', 'optax', 'orbax', 'tensorflow'}


def test_every_folder_of_code_is_a_room():
  tracked = {p.parent.relative_to(ROOT).parts[0] for p in ROOT.glob('*/*.py')
             if not p.parent.name.startswith('.')}
  assert tracked <= set(ROOMS) | {'tests', 'benchmarks'}
