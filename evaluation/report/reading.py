"""What a report is made of: the files of runs, sweeps and evaluations.

They may come from anywhere, so nothing in them is taken for more than numbers, text and
pictures. What cannot be read is left out, and said on the page.
"""
import json
import math
import os
from typing import NamedTuple

from console import files
from data import tokenizers
from training import machine, workdir as workdirs

MOST_BYTES = 1 << 28  # of a file of text


class Run(NamedTuple):
  """A run of train.py or an export. What its folder lacks is empty.

  Attributes:
    name: the last parts of its path.
    config: ConfigDict.
    lines: of metrics.jsonl, {name: number} each.
    samples: {step: path of a PNG}.
    films: paths of GIFs.
    evaluations: [(name, JSON)], of evaluate.py.
    starts: entries of machine.json.
    data: data.json of data.survey.
    prompts: [(prompt, its tokens or None)] of config.sample.
    notes: sentences about what could not be read.
  """
  name: str
  folder: str
  config: object
  lines: list
  samples: dict
  films: list
  evaluations: list
  starts: list
  data: dict
  prompts: list
  notes: list


def kind_of(place: str) -> str:
  """'run', 'sweep' or 'evaluation'. Raises ValueError for a place that is none."""
  there = lambda name: os.path.exists(os.path.join(place, name))
  if os.path.isfile(place) and place.endswith('.json'):
    return 'evaluation'
  if os.path.isdir(place):
    if there('diffs.json'):
      return 'sweep'
    if there('config.json'):
      return 'run'
    if os.path.basename(os.path.abspath(place)) == 'evaluations':
      return 'evaluation'
  elif not os.path.exists(place):
    raise ValueError(f'{place}: there is no such folder or file.')
  raise ValueError(f'{place} is no run (config.json), no sweep (diffs.json), no folder '
                   'evaluations/ and no NAME.json of evaluate.py.')


def name_of(place: str) -> str:
  """The last two parts of a path, which tell runs apart."""
  return '/'.join(os.path.abspath(place).split(os.sep)[-2:])


def read_run(place: str) -> Run:
  """Raises ValueError where the config cannot be read; all else is in `notes`."""
  config, notes = workdirs.load_config(place), []
  at = lambda name: os.path.join(place, name)
  def read(reader, path, empty):
    try:
      return reader(path) if os.path.exists(path) else empty
    except (ValueError, OSError, RecursionError) as e:
      notes.append(f'{os.path.relpath(path, place)} could not be read: {e}')
      return empty
  return Run(
      name_of(place), place, config, read(metrics, at('metrics.jsonl'), []),
      read(numbered, at('samples'), {}), sorted(
          at(name) for name in os.listdir(place) if name.endswith('.gif')),
      read(lambda path: evaluations(path, notes), at('evaluations'), []),
      read(objects, machine.path_of(place), []), read(an_object, at('data.json'), {}),
      read(lambda path: counted(path, config), workdirs.tokenizer_path(place),
           [(prompt, None) for prompt in config.sample.prompts]), notes)


def metrics(path: str) -> list[dict]:
  """The lines of metrics.jsonl, numbers alone. Raises ValueError, with the line.

  The last may be cut short: a run that was killed, or that is writing.
  """
  found = []
  with open(path, encoding='utf-8') as f:
    for i, line in enumerate(f, 1):
      if not line.endswith('\n'):
        break
      try:
        values = json.loads(line)
        found.append({k: v for k, v in values.items() if is_number(v)})
        found[-1]['step']  # noqa: B018  raises where there is none
      except (ValueError, AttributeError, KeyError) as e:
        raise ValueError(f'line {i} is no object with a step: {e}') from e
  return found


def is_number(value) -> bool:
  return (isinstance(value, int | float) and not isinstance(value, bool)
          and math.isfinite(value))


def numbered(folder: str) -> dict:
  """{step: path} of samples/STEP.png, in order."""
  names = [name.removesuffix('.png') for name in os.listdir(folder)
           if name.endswith('.png')]
  return {step: os.path.join(folder, f'{step}.png')
          for step in sorted(int(name) for name in names if name.isdecimal())}


def evaluations(place: str, notes: list) -> list:
  """[(name, JSON)] of a folder evaluations/, or of one file of it."""
  paths = [place] if os.path.isfile(place) else sorted(
      os.path.join(place, name) for name in os.listdir(place)
      if name.endswith('.json'))
  found = []
  for path in paths:
    try:
      about = an_object(path)
      scores = {k: score for k, score in about.get('scores', {}).items()
                if isinstance(score, dict) and is_number(score.get('value'))}
      if not scores:
        raise ValueError('it has no scores.')
      found.append((os.path.basename(path)[:-len('.json')], about | {'scores': scores}))
    except (ValueError, OSError, AttributeError) as e:
      notes.append(f'{os.path.basename(path)} could not be read: {e}')
  return found


def an_object(path: str) -> dict:
  """A JSON file that holds an object."""
  if os.path.getsize(path) > MOST_BYTES:
    raise ValueError(f'it has more than {MOST_BYTES:,} bytes.')
  value = files.read_json(path)
  if not isinstance(value, dict):
    raise ValueError('it holds no object.')
  return value


def objects(path: str) -> list[dict]:
  """A JSON file that holds a list of objects."""
  value = files.read_json(path)
  if not (isinstance(value, list) and all(isinstance(x, dict) for x in value)):
    raise ValueError('it holds no list of objects.')
  return value


def counted(path: str, config) -> list:
  """The prompts of config.sample with how many tokens each has."""
  tokenizer = tokenizers.load(path)
  return [(prompt, tokenizers.size(tokenizer, prompt))
          for prompt in config.sample.prompts]
