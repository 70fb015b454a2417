"""Who may import whom: docs/design.md, enforced."""
import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
BELOW = {'data', 'diffusion', 'models', 'training', 'configs'}
ROOMS = {  # folder -> the other rooms that it may import
    'configs': set(), 'diffusion': set(), 'models': set(),
    'console': {'configs'}, 'data': {'console'}, 'interop': {'models', 'console'},
    'training': {'diffusion', 'models', 'console', 'configs'},
    'inference': BELOW | {'interop', 'console'},
    'evaluation': BELOW | {'inference', 'interop', 'console'},
}
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob('*.py'))]
COMMANDS = sorted(ROOT.glob('*.py'))
OTHERS = sorted(p for folder in ('benchmarks', 'examples')
                for p in (ROOT / folder).glob('*.py'))
MAXIMUM = 300  # lines of a file
# Files that may read a whole config, or the sections of other rooms.
BUILDERS = {'diffusion/build.py', 'models/build.py', 'training/build.py'}


def name_of(path) -> str:
  return path.relative_to(ROOT).as_posix()


def imported(path) -> set[str]:
  """The first part of every name that a file imports, at any depth of it."""
  return imported_by(ast.walk(ast.parse(path.read_text())))


def imported_by(nodes) -> set[str]:
  """The first part of every name that some nodes import."""
  found = set()
  for node in nodes:
    if isinstance(node, ast.Import):
      found |= {alias.name.split('.')[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno} has a relative import'
      found.add(node.module.split('.')[0])
  return found


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_a_room_imports_only_what_it_may(path):
  room = path.relative_to(ROOT).parts[0]
  ours = set(ROOMS) | {command.stem for command in COMMANDS}
  assert imported(path) & ours <= ROOMS[room] | {room}


def test_all_but_what_needs_foreign_files_does_without_interop():
  """interop is imported where a public file is read, not before: training can do
  without the folder."""
  for path in FILES + COMMANDS:
    if path.relative_to(ROOT).parts[0] != 'interop':
      top = [node for node in ast.parse(path.read_text()).body
             if isinstance(node, ast.Import | ast.ImportFrom)]
      assert 'interop' not in imported_by(top), name_of(path)


@pytest.mark.parametrize('path', COMMANDS + OTHERS, ids=name_of)
def test_commands_import_rooms_and_never_each_other(path):
  assert not imported(path) & {command.stem for command in COMMANDS}


def test_what_is_no_business_of_devices_leaves_them_alone():
  for path in FILES:
    if path.relative_to(ROOT).parts[0] in ('data', 'configs', 'console'):
      assert not imported(path) & {'jax', 'flax', 'optax', 'orbax', 'tensorflow'}


def test_rooms_print_nothing():
  """The library raises, the console speaks; commands in rooms are commands."""
  commands = {'data/inspect.py', 'data/prepare.py', 'interop/convert.py'}
  for path in FILES:
    if name_of(path).startswith('console/') or name_of(path) in commands:
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      called = isinstance(node, ast.Call) and getattr(node.func, 'id', None)
      assert called != 'print', f'{name_of(path)}:{node.lineno} prints'


def test_only_what_builds_a_room_has_heard_of_a_config():
  for path in FILES:
    if path.relative_to(ROOT).parts[0] in ('diffusion', 'models', 'interop'):
      assert 'ml_collections' not in imported(path)
      if name_of(path) not in BUILDERS:
        arguments = [arg.arg for node in ast.walk(ast.parse(path.read_text()))
                     if isinstance(node, ast.FunctionDef) for arg in node.args.args]
        assert not {'config', 'cfg'} & set(arguments), name_of(path)


def test_no_file_is_too_long_to_read():
  long = {name_of(p): n for p in FILES + COMMANDS + OTHERS
          if (n := p.read_text().count('\n')) > MAXIMUM}
  assert not long


def test_every_folder_of_code_is_a_room():
  tracked = {p.parent.relative_to(ROOT).parts[0] for p in ROOT.glob('*/*.py')
             if not p.parent.name.startswith('.')}
  assert tracked <= set(ROOMS) | {'tests', 'benchmarks', 'examples', 'docs'}
