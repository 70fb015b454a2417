"""The docs say what the code does: commands, keys, links, names, tables, example."""
import ast
import dataclasses
import functools
import importlib
import importlib.util
import pathlib
import re
import shlex

from absl import flags
from ml_collections import ConfigDict
import pytest

from configs import base, validation
from console import options
from data.sources import SOURCES
import diffusion
from diffusion import (
    editing, guidance, losses, process, schedules, solvers, specs, time_sampling,
    timesteps)
from evaluation.benchmarks import BENCHMARKS
from evaluation.metrics import METRICS
import models
from models.autoencoders import AUTOENCODERS
from models.backbones import BACKBONES
from models.conditions import CONDITIONS
from training import ema, objectives, optim, trackers
from training.build import build_objective

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')),
         ROOT / 'benchmarks' / 'README.md']
COMMANDS = {'train.py': 'train', 'sample.py': 'sample', 'evaluate.py': 'evaluate',
            'export.py': 'export', 'benchmark.py': 'benchmark', 'plan.py': 'plan',
            'play.py': 'play', 'report.py': 'report', 'sweep.py': 'sweep',
            'data.prepare': 'data.prepare', 'data.inspect': 'data.inspect',
            'interop.convert': 'interop.convert'}
TAKE_WORDS = {'interop.convert', 'report.py'}  # beside flags
GLANCE = {  # rows of the README's table, and what has these names
    'schedules': schedules.SCHEDULES, 'targets': process.TARGETS,
    'loss weights': losses.LOSS_WEIGHTS, 'loss measures': time_sampling.LOSS_OVER,
    'time samplings': time_sampling.DENSITIES, 'objectives': objectives.OBJECTIVES,
    'solvers': solvers.SOLVERS, 'timesteps': timesteps.TIMESTEPS,
    'guidance rules': guidance.RULES, 'guidance over time': guidance.OVER_TIME,
    'clipping of x0': guidance.CLIPS, 'fills of a mask': editing.FILLS,
    'backbones': BACKBONES, 'conditions': CONDITIONS, 'autoencoders': AUTOENCODERS,
    'optimizers': optim.OPTIMIZERS, 'averages': ema.PROFILES,
    'trackers': trackers.TRACKERS, 'metrics': METRICS,
    'benchmarks': BENCHMARKS, 'data sources': SOURCES}
OPTIONS = {  # pages that have each row with its options and their defaults
    'diffusion': ('targets', 'loss weights', 'loss measures', 'time samplings',
                  'timesteps', 'guidance rules', 'guidance over time',
                  'clipping of x0'),
    'training': ('objectives', 'averages', 'optimizers', 'trackers'),
    'evaluation': ('metrics',),
    'sampling': ('fills of a mask',), 'solvers': ()}
name_of = lambda path: path.relative_to(ROOT).as_posix()


def commands_of(text: str) -> list[list[str]]:
  """The words of each command line of ours, over several lines where it goes on."""
  found, lines = [], text.splitlines()
  starts = [(i, line) for i, line in enumerate(lines)
            if re.match(r'(    |\$ )?python ', line)]
  for i, line in starts:
    while True:
      try:
        words = shlex.split(line.replace('\\\n', ' '), comments=True)
      except ValueError:  # a quote or a backslash is open
        words = None
      if words is not None and not line.endswith('\\'):
        break
      i += 1
      line += '\n' + lines[i]
    found.append(words)
  found += [shlex.split(x) for x in re.findall(r'`(python [^`]+)`', text)]
  found = [words[2 if words[1] == '-m' else 1:] for words in found]
  return [words for words in found if words[0] in COMMANDS]


@functools.cache
def flags_of(command: str) -> set[str]:
  """Names of the flags that a command defines, without its keeping them."""
  module, before = importlib.import_module(COMMANDS[command]), set(flags.FLAGS)
  module.define_flags()
  found = set(flags.FLAGS) - before
  flags.FLAGS.remove_flag_values(found)
  return found | {'help'}


def config_of(name: str):
  """What --config=configs/FILE.py:WORDS gives."""
  path, _, words = name.partition(':')
  spec = importlib.util.spec_from_file_location('the_config', ROOT / path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(*[words] if words else [])


def apply(c, key: str, text: str):
  """Sets a dotted key as its flag would."""
  *path, last = key.split('.')
  part = functools.reduce(lambda part, name: part[name], path, c)
  old = part.get(last)
  try:
    value = text if isinstance(old, str) else ast.literal_eval(text)
  except (ValueError, SyntaxError):
    value = text
  with c.unlocked():
    if key == 'data.size':
      del part[last]
    part[last] = float(value) if isinstance(old, float) else value


LINES = [pytest.param(words, id=f'{path.stem}: {" ".join(words)[:70]}')
         for path in PAGES for words in commands_of(path.read_text())]


def test_there_are_commands_of_all_kinds():
  assert {words[0] for (words,) in (p.values for p in LINES)} == set(COMMANDS)


@pytest.mark.parametrize('words', LINES)
def test_a_command_in_the_docs_makes_sense(words):
  command, *rest = words
  rest = rest[:rest.index('--')] if '--' in rest else rest
  if command in TAKE_WORDS:
    rest = [word for word in rest if word.startswith('--')]
  given = dict(word.removeprefix('--').partition('=')[::2] for word in rest)
  known, dots = flags_of(command), ('config.', 'sample.')
  assert all(word.startswith('--') for word in rest)
  assert {name for name in given if not name.startswith(dots)} <= known
  assert not any(name.startswith(dots) and name.partition('.')[0] not in known
                 for name in given)
  assert options.unknown_key(words) is None
  if '...' in given.get('config', ''):
    return
  c = config_of(given['config']) if 'config' in given else base.get_config()
  for name, text in given.items():
    if name.startswith(dots):
      apply(c, name.removeprefix('config.'), text)
    elif name in options.SHORT and 'sample' in known:
      apply(c, f'sample.{name}', text)
  validation.check(c)
  diffusion.check_sampling(c.sample)
  if 'config' in given:
    diffusion.build_sampling(c.sample, diffusion.build(c.diffusion))
    build_objective(c, models.build(c))
    optim.build(c.optim, c.train.steps)


def headings(path) -> set[str]:
  """Anchors of a page, as GitHub makes them."""
  found = re.findall(r'^#+ (.+)$', path.read_text(), re.M)
  return {re.sub(r'[^\w\- ]', '', line.lower()).replace(' ', '-') for line in found}


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_links_lead_somewhere(path):
  text = path.read_text()
  for link in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', text):
    place, _, anchor = ''.join(link).partition('#')
    if '://' in place:
      continue
    target = (path.parent / place).resolve() if place else path
    assert target.exists() and ROOT in target.parents, link
    assert not anchor or anchor in headings(target), link


@functools.cache
def files() -> list[str]:
  return [f'/{name_of(path)}' for pattern in ('*.py', '*/*.py', '*/*/*.py', '*/*.md')
          for path in ROOT.glob(pattern)]


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_files_that_are_named_exist(path):
  for named in re.findall(r'`([\w/]+\.py|\w+/[\w/]+\.md)[:`]', path.read_text()):
    assert any(file.endswith(f'/{named}') for file in files()), named


FIELDS = {section: {field.name for row in table.values()
                    for field in dataclasses.fields(row)} | {'name'}
          for section, table in (('model', BACKBONES), ('condition', CONDITIONS),
                                 ('autoencoder', AUTOENCODERS))}


@pytest.mark.parametrize('path', PAGES, ids=name_of)
def test_keys_that_are_named_exist(path):
  for key in re.findall(r'\bconfig((?:\.[a-z]\w*)+)', path.read_text()):
    part = base.get_config()
    section, *names = key.removeprefix('.').split('.')
    if section in ('py', 'json'):
      continue
    if section in FIELDS:
      assert set(names) <= FIELDS[section], key
      continue
    for name in (section, *names):
      assert isinstance(part, ConfigDict) and name in part, key
      part = part[name]


def test_every_key_has_a_word_in_the_docs():
  for page, sections in (('diffusion', ('diffusion', 'sample')),
                         ('training', ('optim',))):
    text = (ROOT / 'docs' / f'{page}.md').read_text()
    for section in sections:
      for key in base.get_config()[section]:
        assert re.search(rf'`(config\.{section}\.)?{key}[`=]', text), key


# Names.

def glance() -> dict:
  """{row: names} of the README's table."""
  rows = re.findall(r'^\| \[([^\]]+)\]\([^)]+\) \| `[^|]+` \| ([^|]+) \|$',
                    (ROOT / 'README.md').read_text(), re.M)
  return {row: re.findall('`([^`]+)`', names) for row, names in rows}


def test_the_glance_has_every_row_of_the_code():
  found = glance()
  for folder in ('papers', 'finetune', 'sweeps'):
    there = {p.stem for p in (ROOT / 'configs' / folder).glob('[a-z]*.py')}
    assert sorted(found.pop(folder)) == sorted(there)
  assert found.keys() == GLANCE.keys()
  for row, table in GLANCE.items():
    assert sorted(found[row]) == sorted(table), row


def spec_of(name: str, row) -> str:
  """'min_snr(gamma=5.0)': a row with the defaults of its options."""
  usual = [f'{k}={v!r}' for k, v in specs.options_of(row).items()]
  return f'{name}({", ".join(usual)})' if usual else name


@pytest.mark.parametrize('page', OPTIONS)
def test_a_page_has_the_options_of_its_rows(page):
  text = (ROOT / 'docs' / f'{page}.md').read_text()
  for kind in OPTIONS[page]:
    for name, row in GLANCE[kind].items():
      plain = kind == 'optimizers'  # which have no options of their own
      assert (name if plain else spec_of(name, row)) in text, name
  if page == 'solvers':
    for name in solvers.SOLVERS:
      assert f'`{name}`' in text or f'`{name}(' in text, name
  if page == 'diffusion':
    for name, row in schedules.SCHEDULES.items():
      assert f'`{name}`' in text and spec_of('', row) in text


# Pages and plots that are made by scripts.

def script(path: str):
  spec = importlib.util.spec_from_file_location('the_script', ROOT / path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_page_of_models_is_what_its_script_writes():
  text = (ROOT / 'docs' / 'models.md').read_text()
  assert script('benchmarks/fields.py').page(text) == text, (
      'python benchmarks/fields.py writes it anew')


def test_two_moons(tmp_path):
  moons = script('examples/two_moons.py')
  moons.N = 50
  sheet = moons.plot(moons.train(3))
  sheet.savefig(tmp_path / 'two_moons.png')
  assert (tmp_path / 'two_moons.png').stat().st_size > 10_000
