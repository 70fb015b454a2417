"""Numbers that follow from a name, the same with any package and version."""
import math
import zlib

import numpy as np


def numbers(name: str, size: int) -> np.ndarray:
  """float32[size] of a normal, of a scale that keeps small networks near 1.

  name: of a parameter ('a/b/kernel'), or of anything else.
  """
  draw = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(size)
  leaf = name.rpartition('/')[2]
  scale = {'x': 1.0, 'text': 1.0, 'pooled': 1.0, 'weight': 1.0}.get(leaf, 0.1)
  return (scale * draw + (leaf == 'scale')).astype(np.float32)


def foreign(table, shapes):
  """{name: float32 array} of a foreign module whose parameters are those drawn here.

  table: {foreign name: (our name, which of the stacked blocks)}. shapes: of its arrays.
  """
  blocks = {}
  for new, index in table.values():
    blocks[new] = max(blocks.get(new, 0), (index or 0) + 1)
  arrays = {}
  for name, (new, index) in table.items():
    shape = tuple(shapes[name])
    flat = numbers(new, math.prod(shape) * blocks[new])
    flat = flat.reshape(blocks[new], -1)[index or 0]
    if new.endswith('kernel'):  # out, in, height, width there; the other way round here
      here = shape[2:] + shape[1::-1]
      arrays[name] = np.moveaxis(flat.reshape(here), (-1, -2), (0, 1)).copy()
    else:
      arrays[name] = flat.reshape(shape)
  return arrays


def state(shapes) -> dict:
  """{name: float32 array} of a foreign network, of a scale that goes through deep ones.

  shapes: {name: shape}, of PyTorch's names and order of axes.
  """
  def one(name, shape):
    draw = 10 * numbers(name, math.prod(shape)).reshape(shape)
    if name.endswith('running_var'):
      return np.exp(0.2 * draw)
    if name.startswith('lin'):  # LPIPS's heads are not negative
      return np.abs(draw)
    if len(shape) > 1:
      return draw * np.float32(math.sqrt(2 / math.prod(shape[1:])))
    return 0.1 * draw + ('norm' in name or 'bn.weight' in name or 'lambda' in name)
  return {name: np.asarray(one(name, shape), np.float32)
          for name, shape in shapes.items()}


def pictures(*shape) -> np.ndarray:
  """uint8 of that shape: noise over waves, so that every resize has something to do."""
  rng = np.random.RandomState(zlib.crc32(str(shape).encode()))
  rows, columns = (np.arange(n) for n in shape[-3:-1])
  waves = np.sin(rows / 7)[:, None, None] * np.cos(columns / 5)[:, None]
  return np.uint8(np.clip(128 + 90 * waves + 40 * rng.standard_normal(shape), 0, 255))
