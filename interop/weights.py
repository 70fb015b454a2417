"""Public checkpoints, safetensors of diffusers and transformers, as our parameters."""
import math
import pathlib
import re
from typing import Any, NamedTuple

from flax import traverse_util
import numpy as np
import safetensors

from interop import feature_names, names

# family -> what its files may hold that a module has no place for
SPARE = feature_names.SPARE | {
    'clip': r'.*position_ids|(text|visual)_projection\..*|logit_scale|vision_model\..*'
            r'|visual\..*|text_projection',
    'pixart': r'pos_embed\.pos_embed',
    'sd3': r'pos_embed\.pos_embed',
    't5': r'decoder\..*|lm_head\..*',
}
TWICE = {'encoder.embed_tokens.weight': 'shared.weight'}  # T5 may name one table twice


def load(path, shapes, family: str | None = None):
  """Reads float32 parameters of the given tree of shapes.

  Args:
    path: a safetensors file, or a folder in which all of them are parts of one.
    shapes: nested dicts of what has a shape, as jax.eval_shape gives parameters.
    family: of names.FAMILIES, whose names the file has; None for that of
      names.SIGNS by which they are known.

  Returns the same tree of numpy arrays; one array of a file at a time is held beside.

  Raises ValueError for no such file, names that are of none of names.SIGNS, and
  parameters that are missing, left over or of another shape, by name.
  """
  wanted = {name: tuple(leaf.shape) for name, leaf in
            traverse_util.flatten_dict(shapes, sep='/').items()}
  files = with_thirds(opened(path))
  family = family or names.family_of(files)
  if family is None:
    raise ValueError(f'{path} holds none of {sorted(names.SIGNS)}; it has '
                     f'{min(files)!r}.')
  places = {}  # (name, which of the stacked blocks or None): shape
  for name, shape in wanted.items():
    stacked = 'blocks/' in name
    for block in range(shape[0]) if stacked else [None]:
      places[name, block] = shape[1:] if stacked else shape
  table = names.ours(family, [f for f in files if TWICE.get(f) not in files])
  table = {foreign: place for foreign, place in table.items()
           if place in places or not re.fullmatch(SPARE.get(family, ''), foreign)}
  check_fits(path, places, table, {
      name: tuple(files[name].get_slice(name).get_shape()) for name in table})
  found = {name: np.empty(shape, np.float32) for name, shape in wanted.items()}
  for foreign, (name, block) in table.items():
    place = found[name] if block is None else found[name][block, ...]
    array = files[foreign].get_tensor(foreign)
    if is_turned(name, foreign, array.shape):
      array = np.moveaxis(array, (0, 1), (-1, -2))
    place[...] = array.reshape(place.shape)
  return traverse_util.unflatten_dict(found, sep='/')


def opened(path):
  """{name: the open safetensors file that has it}.

  Of a folder those without a variant, as model.fp16.safetensors has, if there are any.
  """
  path, found = pathlib.Path(path), {}
  files = [path] if path.is_file() else sorted(path.glob('*.safetensors'))
  for part in [file for file in files if '.' not in file.stem] or files:
    try:
      file = safetensors.safe_open(part, 'np')
    except (safetensors.SafetensorError, OSError) as e:
      raise ValueError(f'{part} is not a whole safetensors file: {e}') from e
    for name in file.keys():
      if name in found:
        raise ValueError(f'{path} has {name!r} in {part.name} and in another file; '
                         'give the one that is meant, or a folder of its parts alone.')
      found[name] = file
  if not found:
    raise ValueError(f'{path} is no safetensors file and no folder with one.')
  return found


class Third(NamedTuple):
  """A third of a file's array, as if it were an array of the file."""
  file: Any
  name: str
  index: int

  def get_tensor(self, name):
    del name
    return np.split(self.file.get_tensor(self.name), 3)[self.index]

  def get_slice(self, name):
    del name
    return self

  def get_shape(self):
    first, *rest = self.file.get_slice(self.name).get_shape()
    return [first // 3, *rest]


def with_thirds(files):
  """PyTorch's queries, keys and values in one array as three arrays."""
  found = {}
  for name, file in files.items():
    if match := re.fullmatch(r'(.*\.)in_proj_(weight|bias)', name):
      found |= {f'{match[1]}{part}.{match[2]}': Third(file, name, i)
                for i, part in enumerate('qkv')}
    else:
      found[name] = file
  return found


def check_fits(path, places, table, shapes):
  """Raises ValueError where a file does not have exactly the parameters wanted.

  places: {our place: shape}. table: {foreign name: our place}. shapes: of these names.
  """
  def refuse(what, found):
    raise ValueError(f'{path} does not fit the config: {what} {", ".join(found[:3])}'
                     + (f' and {len(found) - 3} more.' if len(found) > 3 else '.'))
  if extra := [foreign for foreign, place in table.items() if place not in places]:
    refuse('the model has no place for', extra)
  if missing := sorted(places.keys() - set(table.values()), key=str):
    refuse('the file lacks', [name if block is None else f'{name}[{block}]'
                              for name, block in missing])
  if len(places) < len(table):
    refuse('two of its names are one of ours among', list(table))
  if wrong := [f'{foreign} {list(shapes[foreign])}, which is {place[0]} '
               f'{list(places[place])} here' for foreign, place in table.items()
               if not fits(place[0], foreign, shapes[foreign], places[place])]:
    refuse('other shapes:', wrong)


def is_turned(name: str, foreign: str, shape) -> bool:
  """Whether axes are out, in, height, width there and height, width, in, out here.

  name: ours, foreign: theirs. PyTorch's layers have a `weight`; a `kernel` is Flax's,
  and a matrix of another name what something is multiplied by, as here.
  """
  return (name.endswith('/kernel') and foreign.endswith('weight')
          and len(shape) > 1)


def fits(name: str, foreign: str, there, here) -> bool:
  """Whether an array of the shape `there` is one of ours of the shape `here`.

  Here heads are split, a convolution of one place or of patches is a product, and axes
  of one place are left out where it is neither.
  """
  if not is_turned(name, foreign, there):
    whole = [n for n in there if n > 1] == [n for n in here if n > 1]
    return whole or there == (math.prod(here),)
  there = there[2:] + there[1::-1]
  if len(here) == 4:
    return there == here
  outputs = [math.prod(here[i:]) for i in range(1, len(here))]
  return math.prod(there) == math.prod(here) and there[-1] in outputs
