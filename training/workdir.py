"""The folder of a run: its config, and whether it is started, exported or in use.

A workdir holds config.json, tokenizer.json, checkpoints/, metrics.jsonl, samples/; an
exported one config.json, tokenizer.json and the weights in one file.
"""
import json
import os

from ml_collections import ConfigDict

from configs import base, validation
from console import files
from training import checkpoint, param_files

FREE = (  # keys that a resumed run may change
    'train.steps', 'train.log_every', 'train.checkpoint_every', 'train.sample_every',
    'train.eval_every', 'train.averages_every', 'train.keep', 'train.max_skipped',
    'train.trackers', 'train.profile', 'train.spike', 'train.max_rollbacks',
    'mesh', 'sample', 'eval', 'data.dir', 'data.path', 'data.workers', 'data.threads',
    'data.max_bad', 'data.font')

tokenizer_path = lambda workdir: os.path.join(workdir, 'tokenizer.json')
data_path = lambda workdir: os.path.join(workdir, 'data.json')  # data.survey


def free(key: str) -> bool:
  """Whether a resumed run may change a dotted key: it, or its section, is of FREE."""
  return key in FREE or key.partition('.')[0] in FREE


def started(workdir: str) -> bool:
  """Whether a workdir holds a run that has a checkpoint."""
  folder = os.path.join(workdir, 'checkpoints')
  return os.path.isdir(folder) and any(name.isdigit() for name in os.listdir(folder))


def exported(place: str) -> bool:
  """Whether a folder is a workdir that export.py made."""
  return os.path.exists(os.path.join(place, param_files.FILE))


def load_config(workdir: str | None, flag: str = 'workdir'):
  """The config of the run in a workdir, given by --flag; ValueError if it has none."""
  if not workdir:
    raise ValueError(f'--{flag}=FOLDER is needed: the folder of a run.')
  if not os.path.isdir(workdir):
    raise ValueError(f'--{flag}={workdir}: there is no such folder.')
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    raise ValueError(f'--{flag}={workdir}: the folder holds no run (no config.json); '
                     'train.py makes one.')
  stored = config_from_json(files.read_json(path))
  try:
    if not isinstance(stored, ConfigDict):
      raise ValueError('it holds no object.')
    config = base.completed(stored)
    validation.check(config)
  except (ValueError, TypeError) as e:
    raise ValueError(f'{path} is not a config: {e}') from e
  return config


def save_config(workdir: str, c):
  """Writes the config of a run, resolved."""
  files.write_text(os.path.join(workdir, 'config.json'), c.to_json(indent=2) + '\n')


def config_from_json(value):
  """What JSON made of a config -> the config: lists become tuples again."""
  if isinstance(value, dict):
    return ConfigDict({k: config_from_json(v) for k, v in value.items()})
  return tuple(map(config_from_json, value)) if isinstance(value, list) else value


def json_of_config(c):
  """A config -> what JSON makes of it, to compare."""
  return json.loads(c.to_json())


def differences(a, b, at='') -> list[str]:
  """Dotted names of the leaves in which two configs, as JSON, differ."""
  if not (isinstance(a, dict) and isinstance(b, dict)):
    return [] if a == b else [at]
  return [name for k in sorted(a.keys() | b.keys())
          for name in differences(a.get(k), b.get(k), f'{at}.{k}'.lstrip('.'))]


def resolve_config(c, workdir: str | None):
  """The config of a run, checked against the one that its workdir may hold.

  c: of --config; None for that of the workdir, where a run is or is to begin. Raises
  ValueError where they differ in a key that is not of FREE, or where there is none.
  """
  if not workdir:
    raise ValueError('--workdir=FOLDER is needed: it is made if it does not exist.')
  if exported(workdir):
    raise ValueError(f'--workdir={workdir} holds exported weights; give another one.')
  there = started(workdir)
  if c is None and (there or os.path.exists(os.path.join(workdir, 'config.json'))):
    return load_config(workdir)
  if c is None:
    raise ValueError('--config=FILE is needed, such as configs/shapes.py.')
  if not there:
    return c
  changed = differences(json_of_config(load_config(workdir)), json_of_config(c))
  if locked := [k for k in changed if not free(k)]:
    raise ValueError(f'--workdir={workdir} holds a run with another '
                     f'{", ".join("config." + k for k in locked)}; '
                     'resume it as it was, or give a new --workdir.')
  return c


def open_workdir(workdir: str):
  """Makes the folder and locks it for this process, or raises ValueError where another
  one writes there; keep the result alive."""
  os.makedirs(workdir, exist_ok=True)
  try:
    return checkpoint.lock(workdir)
  except BlockingIOError:
    raise ValueError(f'--workdir={workdir} is in use: another train.py is writing '
                     'there.') from None
