"""Does a picture of the shapes world show just what was asked for?

The scorer looks at pixels alone. It separates objects from the canvas, names each
one's colour by the nearest of the seven, and its shape by the best overlap with the
six drawn at its place and size; then it compares what it found with the prompt.
"""
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable

import numpy as np
from scipy import ndimage

INK = 0.45         # least opacity of a pixel that belongs to an object
SPECK = 4          # least area of an object, pixels at size 32
OVERLAP = 0.75     # least soft intersection over union with a template
COLOUR_SLACK = 70  # farthest that a colour may be from the named one, RGB distance


@dataclasses.dataclass(frozen=True)
class World:
  """What the scorer knows of the pictures.

  Attributes:
    canvas: background RGB, 0 to 255.
    colours: name -> RGB.
    shapes: names.
    opacity: (shape, x, y, radius, (h, w)) -> f32[h w] in [0, 1]; x, y and radius in
      units of which the shorter side has 32.
  """
  canvas: tuple[int, int, int]
  colours: dict
  shapes: tuple[str, ...]
  opacity: Callable

  @functools.cached_property
  def radius_of_area(self):
    """shape -> radius at which it covers one pixel."""
    return {shape: 8 / math.sqrt(self.opacity(shape, 16, 16, 8, (32, 32)).sum())
            for shape in self.shapes}


@dataclasses.dataclass(frozen=True)
class Found:
  """A blob; colour and shape are None where it is none of the world's."""
  colour: str | None
  shape: str | None
  x: float  # centre of mass, of 32 a shorter side, right
  y: float  # likewise, down


def find(image: np.ndarray, world: World) -> list[Found]:
  """Finds the objects of a picture, uint8 [h w 3]."""
  scale = min(image.shape[:2]) / 32
  away = image.astype(np.float32) - np.float32(world.canvas)
  rays = np.float32(list(world.colours.values())) - np.float32(world.canvas)
  ink = np.max(away @ rays.T / np.square(rays).sum(-1), -1)  # [h w], 1 is solid colour
  labels, count = ndimage.label(ink > INK, np.ones((3, 3)))
  blobs = [labels == i for i in range(1, count + 1)]
  return [describe(away, blob, rays, world) for blob in blobs
          if blob.sum() >= SPECK * scale**2]


def describe(away, blob, rays, world) -> Found:
  """Names the blob of a mask bool[h w] in a picture given as distance from canvas."""
  unit = 32 / min(blob.shape)
  strength = np.linalg.norm(away, axis=-1)
  solid = blob & (strength >= np.median(strength[blob]))  # its rim is a mixture
  error = np.linalg.norm(away[solid].mean(0) - rays, axis=-1)
  ray = rays[error.argmin()]
  near = ndimage.binary_dilation(blob, np.ones((3, 3)))   # the half-covered rim
  seen = np.clip(away @ ray / np.square(ray).sum(), 0, 1) * near
  area = seen.sum()
  y, x = (np.array(ndimage.center_of_mass(seen)) + 0.5) * unit
  overlap = {}
  for shape, radius in world.radius_of_area.items():
    drawn = world.opacity(shape, x, y, radius * math.sqrt(area) * unit, blob.shape)
    overlap[shape] = np.minimum(seen, drawn).sum() / np.maximum(seen, drawn).sum()
  shape = max(overlap, key=overlap.get)
  return Found(
      list(world.colours)[error.argmin()] if error.min() < COLOUR_SLACK else None,
      shape if overlap[shape] > OVERLAP else None, float(x), float(y))


def correct(image: np.ndarray, scene, world: World) -> bool:
  """Whether a picture uint8 [h w 3] shows exactly the scene.

  Args:
    scene: has `objects`, pairs (colour, shape), where a colour of None stands for any,
      and `relation`, None or one of 'left of', 'right of', 'above' and 'below' between
      the first and the second.
  """
  found = find(image, world)
  return len(found) == len(scene.objects) and any(
      all(map(shows, some, scene.objects)) and related(some, scene.relation)
      for some in itertools.permutations(found))


def shows(found: Found, pair) -> bool:
  """Whether a blob is an object (colour, shape); a colour of None stands for any."""
  colour, shape = pair
  return (found.shape == shape and found.colour is not None
          and colour in (None, found.colour))


def related(found, relation: str | None) -> bool:
  """Whether the first of two blobs stands in a relation to the second."""
  if relation is None:
    return True
  a, b = found
  dx, dy = b.x - a.x, b.y - a.y
  along, across = (dx, dy) if relation in ('left of', 'right of') else (dy, dx)
  if relation in ('right of', 'below'):
    along = -along
  return along > abs(across)
