"""Public checkpoints, safetensors of diffusers and transformers, as our parameters."""
import math
import re

from flax import traverse_util
import numpy as np

from interop import feature_names, names, original, tensors

# family -> what its files may hold that a module has no place for
SPARE = feature_names.SPARE | {
    'clip': r'.*position_ids|(text|visual)_projection\..*|logit_scale|vision_model\..*'
            r'|visual\..*|text_projection',
    'pixart': r'pos_embed\.pos_embed',
    'sd3': r'pos_embed\.pos_embed',
    't5': r'decoder\..*|lm_head\..*',
}
TWICE = {'encoder.embed_tokens.weight': 'shared.weight'}  # T5 may name one table twice


def load(path, shapes, dtype=np.float32, variant: str | None = None, put=None,
         family: str | None = None, part: str = ''):
  """Reads parameters of the given tree of shapes.

  Args:
    path: a safetensors file, or a folder in which all of them are parts of one.
    shapes: nested dicts of what has a shape, as jax.eval_shape gives parameters.
    dtype: of the arrays.
    variant: of tensors.opened.
    put: (shape, read) -> a leaf, with read: index -> the numpy array there; None reads
      all of it. Leaves are made one after another, so that no more than one need lie on
      the host.
    family: of names.FAMILIES, whose names the file has; None for that of
      names.SIGNS by which they are known.
    part: 'a/b' of our parameters, for a file of a whole pipeline (original.PREFIXES).

  Returns the same tree of leaves, numpy arrays where `put` is None.

  Raises ValueError for no such file, names that are of none of names.SIGNS, and
  parameters that are missing, left over or of another shape, by name.
  """
  wanted = {name: tuple(leaf.shape) for name, leaf in
            traverse_util.flatten_dict(shapes, sep='/').items()}
  files = with_thirds(tensors.opened(path, variant))
  if original.is_original(files):
    family, files = original.part_of(path, files, part, shapes)
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
  check_fits(path, places, table, {name: files[name].shape for name in table})
  sources = {place: (foreign, files[foreign]) for foreign, place in table.items()}
  put = put or (lambda shape, read: read((slice(None),) * len(shape)))
  return traverse_util.unflatten_dict({
      name: put(shape, reader(name, shape, sources, dtype))
      for name, shape in wanted.items()}, sep='/')


def reader(name: str, shape, sources, dtype):
  """index -> what is there of one of our leaves, an array of that dtype.

  sources: {(name, block or None): (foreign name, its array)}. index: a slice an axis.
  """
  def one(block, shape, index):
    foreign, array = sources[name, block]
    array = array.read()
    if is_turned(name, foreign, array.shape):
      array = np.moveaxis(array, (0, 1), (-1, -2))
    return array.reshape(shape)[index].astype(dtype)
  def read(index):
    if 'blocks/' not in name:
      return one(None, shape, index)
    blocks = range(shape[0])[index[0]]
    lengths = [len(range(n)[i]) for n, i in zip(shape[1:], index[1:])]
    out = np.empty((len(blocks), *lengths), dtype)
    for place, block in zip(out, blocks):
      place[...] = one(block, shape[1:], index[1:])
    return out
  return read


def with_thirds(files):
  """PyTorch's queries, keys and values in one array as three arrays."""
  found = {}
  for name, file in files.items():
    if match := re.fullmatch(r'(.*\.)(?:in_proj_|qkv\.)(weight|bias)', name):
      found |= {f'{match[1]}{part}.{match[2]}': tensors.Pieces(file, 3, (i,))
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
