"""What a browser asks for: JSON, of which nothing is believed, as an Asked."""
import base64
import binascii
import json
import math
from typing import Any, NamedTuple

from data import images
from data.problems import Bad
from inference import edits

MOST_BYTES = 16 << 20  # of a request
MOST_TEXT = 1_000      # characters of a prompt
MOST_STEPS = 250       # of a picture, and of all cells of a grid
MOST_CELLS = 36        # of a grid
MOST_SIDES = 4         # times the side of training
MODES = 'draw', 'edit', 'interpolate', 'grid'
TEXT = 'prompt', 'negative', 'to_prompt'
CHOICES = 'solver', 'timesteps', 'rule', 'fill'
NUMBERS = {  # name: (type, least, most)
    'seed': (int, 0, 2**32 - 1), 'to_seed': (int, 0, 2**32 - 1), 'num': (int, 1, 16),
    'frames': (int, 2, 16), 'steps': (int, 1, MOST_STEPS),
    'guidance': (float, -1000.0, 1000.0), 'strength': (float, 0.01, 1.0)}
LISTS = {'guidances': 'guidance', 'steps_list': 'steps'}  # of a grid
PICTURES = 'image', 'mask'
OPTIONAL = {'negative': '', 'to_prompt': '', 'to_seed': None, 'num': 1, 'frames': 8,
            'seed': 0, 'strength': 1.0, 'fill': 'blend', 'image': None, 'mask': None,
            'guidances': (), 'steps_list': ()}  # of what may be missing, its value


class Asked(NamedTuple):
  """A request that makes sense so far: every field is of its type and in its range.

  Attributes:
    image, mask: f32[h w c] in [-1, 1], or None.
    guidances, steps_list: of a grid.
    the others: as the flags of sample.py.
  """
  mode: str
  prompt: str
  negative: str
  to_prompt: str
  seed: int
  to_seed: int | None
  num: int
  frames: int
  height: int
  width: int
  steps: int
  guidance: float
  solver: str
  timesteps: str
  rule: str
  strength: float
  fill: str
  image: Any
  mask: Any
  guidances: tuple
  steps_list: tuple


def from_json(body: bytes, usual: dict, choices: dict, size, channels: int) -> Asked:
  """Reads a request.

  Args:
    usual: {name: value} of what a model's config says.
    choices: {name: names that may be chosen}.
    size: (height, width) that the model was trained on; or as `usual` has them.
    channels: of its pictures.

  Raises:
    ValueError: anything that is not known, or out of its range, by name.
  """
  given = parsed(body)
  if unknown := sorted(given.keys() - set(Asked._fields)):
    raise ValueError(f'{unknown[0][:40]!r} is no field; fields are '
                     f'{sorted(Asked._fields)}.')
  found = OPTIONAL | dict(zip(('height', 'width'), size)) | usual
  for name, value in given.items():
    if value is not None:
      found[name] = field(name, value, choices, size)
  if missing := [name for name in Asked._fields if name not in found]:
    raise ValueError(f'{missing[0]} is missing.')
  if len(found['guidances']) * len(found['steps_list']) > MOST_CELLS:
    raise ValueError(f'a grid has at most {MOST_CELLS} cells.')
  if sum(found['steps_list']) > MOST_STEPS:
    raise ValueError(f'steps_list comes to more than {MOST_STEPS} steps in all.')
  for name in PICTURES:
    if found[name] is not None:
      found[name] = picture(name, found[name], (found['height'], found['width']),
                            channels)
  return Asked(**found)


def parsed(body: bytes) -> dict:
  """The object that a body is. Raises ValueError for anything else."""
  def refuse(word):
    raise ValueError(f'{word} is no number.')
  try:
    given = json.loads(body.decode('utf-8'), parse_constant=refuse)
  except (ValueError, RecursionError) as e:
    raise ValueError(f'the request is no JSON: {str(e)[:200]}') from e
  if not isinstance(given, dict):
    raise ValueError('the request is no JSON object.')
  return given


def field(name: str, value, choices: dict, size):
  """A value as its field has it, but for pictures, which depend on others."""
  if name in TEXT:
    return text(name, value)
  if name == 'mode' or name in CHOICES:
    known = MODES if name == 'mode' else choices[name]
    if not isinstance(value, str) or value not in known:
      raise ValueError(f'{name} is {str(value)[:40]!r}, not one of {list(known)}.')
    return value
  if name in ('height', 'width'):
    most = MOST_SIDES * size[name == 'width']
    return number(name, value, int, 1, most)
  if name in LISTS:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CELLS:
      raise ValueError(f'{name} must be a list of 1 to {MOST_CELLS} numbers.')
    return tuple(number(name, x, *NUMBERS[LISTS[name]]) for x in value)
  if name in NUMBERS:
    return number(name, value, *NUMBERS[name])
  return value


def text(name: str, value) -> str:
  if not isinstance(value, str) or len(value) > MOST_TEXT or '\0' in value:
    raise ValueError(f'{name} must be text of at most {MOST_TEXT:,} characters.')
  return value


def number(name: str, value, kind: type, low, high):
  """A finite number of a type and range; a whole one may stand for a fraction."""
  fits = isinstance(value, int | kind) and not isinstance(value, bool)
  if not fits or not low <= value <= high or not math.isfinite(value):
    raise ValueError(f'{name} must be {"a whole" if kind is int else "a"} number from '
                     f'{low} to {high}.')
  return kind(value)


def picture(name: str, value, size, channels: int):
  """A picture's file in base64, as a data: address or without -> f32[h w c]."""
  if not isinstance(value, str):
    raise ValueError(f'{name} must be a picture in base64.')
  try:
    data = base64.b64decode(value.rpartition(',')[2], validate=True)
    found = images.decode(data, size, channels, most=images.MOST_PIXELS).image
  except (binascii.Error, ValueError, Bad) as e:
    raise ValueError(f'{name} is no picture: {str(e)[:200]}') from e
  return edits.to_input(found)
