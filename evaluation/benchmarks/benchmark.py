"""What a benchmark is to us: pictures in files where it looks, and its results."""
import json
import os
from collections.abc import Callable
from typing import NamedTuple


class Item(NamedTuple):
  """A prompt and where its pictures go.

  Attributes:
    paths: one a picture, relative to the folder of pictures; or one for all of them,
      which lie in a square grid, row by row.
    sidecars: {relative path: text of a file beside them}.
    about: what else the file of prompts says of it.
  """
  prompt: str
  paths: tuple
  sidecars: dict = {}
  about: dict = {}


class Benchmark(NamedTuple):
  """A benchmark that others judge.

  Attributes:
    items: (file or folder of prompts, pictures a prompt, name of the model) -> [Item].
    scores: (paths of results, file of prompts or None, name of the model) ->
      {name: scores.Score}.
    num: pictures a prompt, as published.
    unit: of the scores: '%' where they are published in percent, and are shares here.
    nums: those that its code can read; () for any.
    index: (items, folder of pictures) -> {relative path: text} of files about all,
      written when all is drawn.
    square: whether pictures must be.
  """
  items: Callable
  scores: Callable
  num: int
  unit: str = ''
  nums: tuple = ()
  index: Callable = lambda items, folder: {}
  square: bool = False


def lines_of(path: str) -> list[str]:
  """Lines of a UTF-8 file, without empty ones. Raises ValueError for another file."""
  try:
    with open(path, encoding='utf-8-sig', newline=None) as f:
      lines = [line.rstrip('\n') for line in f]
  except UnicodeDecodeError as e:
    raise ValueError(f'{path} is not UTF-8 text: {e}') from e
  lines = [line for line in lines if line.strip()]
  if not lines:
    raise ValueError(f'{path} is empty.')
  return lines


def objects_of(path: str, *keys: str) -> list[dict]:
  """Objects of a file of JSON lines, each with these keys; else ValueError."""
  found = []
  for i, line in enumerate(lines_of(path), 1):
    try:
      item = json.loads(line)
    except ValueError as e:
      raise ValueError(f'{path}, line {i}, is not JSON: {e}') from e
    if not isinstance(item, dict) or (missing := sorted(set(keys) - item.keys())):
      raise ValueError(f'{path}, line {i}, has no {missing[0]!r}.' if
                       isinstance(item, dict) else f'{path}, line {i}, is no object.')
    found.append(item)
  return found


def json_of(path: str, kind: type):
  """What a JSON file holds, a list or an object; else ValueError."""
  with open(path, encoding='utf-8') as f:
    try:
      found = json.load(f)
    except ValueError as e:
      raise ValueError(f'{path} is not JSON: {e}') from e
  if not isinstance(found, kind):
    raise ValueError(f'{path} holds no {kind.__name__}.')
  return found


def file_name(name: str, where: str) -> str:
  """A name that a file can have; ValueError, which says where it comes from, if not."""
  if not name or name in ('.', '..') or set('/\0') & set(name) or (
      len(os.fsencode(name)) > 255):
    raise ValueError(f'{where}: {name[:60]!r} cannot be the name of a file.')
  return name


def only(results: list[str], what: str) -> str:
  """The one path of results; ValueError where there are more."""
  if len(results) != 1:
    raise ValueError(f'--results takes one file here, {what}, not {len(results)}.')
  return results[0]
