"""What an evaluation has gathered so far, in a folder: one that was killed goes on.

`progress.json` says whose evaluation it is and how many pictures were done at each
save: of each there are the rows that it added, of the last the moments. It is replaced
at once and last, so that a kill leaves things as they were before a save, or after it.
"""
import json
import os
import shutil
from typing import NamedTuple

import jax
import numpy as np

from console import files
from evaluation.moments import Moments


class Store(NamedTuple):
  """Attributes:
    folder: in which all is kept; removed when the evaluation is over.
    identity: JSON; what is there of another one is not gone on with.
    every: pictures after which there is a save.
  """
  folder: str
  identity: dict
  every: int = 1024


path_of = lambda store: os.path.join(store.folder, 'progress.json')


def load(store: Store, needs) -> tuple[dict, list[int]]:
  """({need: what was gathered}, pictures at each save of this evaluation, if any)."""
  try:
    state = files.read_json(path_of(store))
  except FileNotFoundError:
    return {}, []
  if state['identity'] != json.loads(json.dumps(store.identity)):
    return {}, []
  found, saves = {}, state['saves']
  for i, need in enumerate(needs):
    if need.kind == 'rows':
      found[need] = [read(store, 'rows', done)[f'{i}'] for done in saves]
    else:
      part = read(store, 'moments', saves[-1])
      n, mean, scatter = (part[f'{i}/{name}'] for name in Moments._fields)
      found[need] = Moments(int(n), mean, scatter)
  return found, saves


def save(store: Store, found: dict, saves: list[int], done: int) -> list[int]:
  """Keeps what was gathered of the first `done` pictures; returns the saves with it.

  The rows that came since the last save become one part of `found`. Of many processes,
  which all have gathered the same, the first writes.
  """
  for need, value in found.items():
    if isinstance(value, list):
      found[need] = [*value[:len(saves)], np.concatenate(value[len(saves):])]
  if jax.process_index() == 0:
    os.makedirs(store.folder, exist_ok=True)
    values = list(enumerate(found.values()))
    write(store, 'rows', done, {
        f'{i}': value[-1] for i, value in values if isinstance(value, list)})
    write(store, 'moments', done, {
        f'{i}/{name}': part for i, value in values if isinstance(value, Moments)
        for name, part in value._asdict().items()})
    files.write_json(path_of(store), {
        'identity': store.identity, 'saves': [*saves, done]})
    for old in saves[-1:]:
      os.remove(name_of(store, 'moments', old))
  return [*saves, done]


def name_of(store: Store, what: str, done: int) -> str:
  return os.path.join(store.folder, f'{what}-{done}.npz')


def write(store: Store, what: str, done: int, arrays: dict):
  with files.atomic_write(name_of(store, what, done)) as new, open(new, 'wb') as file:
    np.savez(file, **arrays)


def read(store: Store, what: str, done: int):
  return np.load(name_of(store, what, done))


def remove(store: Store):
  """Ends an evaluation: nothing is left to go on with."""
  shutil.rmtree(store.folder, ignore_errors=True)
