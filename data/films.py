"""Films: the way from noise to picture, and the way back."""
import numpy as np

from console.files import atomic_write
from data import images

FRAMES = 36     # of a film
LEAST = 192     # pixels of its height


def frames_of(way: np.ndarray, columns: int) -> np.ndarray:
  """uint8 [steps m h w c] -> about FRAMES grids, the last of them the pictures."""
  at = np.unique(np.linspace(0, len(way) - 1, FRAMES).round().astype(int))
  return np.stack([images.grid(way[i], columns) for i in at])


def write(path: str, frames: np.ndarray):
  """Writes uint8 [n h w c] as a GIF, small ones enlarged by whole factors."""
  zoom = max(1, LEAST // frames.shape[1])
  with atomic_write(path) as new:
    images.write_gif(new, frames.repeat(zoom, 1).repeat(zoom, 2))
