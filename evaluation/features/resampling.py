"""Resizing as TensorFlow 1, PyTorch and Keys (doi:10.1109/TASSP.1981.1163711) do it."""
import numpy as np


def tf1_bilinear(x, height: int, width: int):
  """f32[b h w c] -> f32[b height width c]: output i lies at i * (in / out).

  In TensorFlow's order of operations, so that the last bit is the same.
  """
  def places(size, new):
    at = np.arange(new, dtype=np.float32) * np.float32(size / new)
    low = at.astype(np.int64)
    return low, np.minimum(low + 1, size - 1), at - low.astype(np.float32)
  low, high, share = places(x.shape[2], width)
  x = lerp(x[:, :, low], x[:, :, high], share[:, None])
  low, high, share = places(x.shape[1], height)
  return lerp(x[:, low], x[:, high], share[:, None, None])


def torch_bilinear(x, height: int, width: int):
  """f32[b h w c] -> f32[b height width c], centres of pixels aligned."""
  def places(size, new):
    at = np.maximum(centres(size / new, new), 0)
    low = np.minimum(at.astype(np.int64), size - 1)
    return low, np.minimum(low + 1, size - 1), at - low.astype(np.float32)
  low, high, share = places(x.shape[2], width)
  x = lerp(x[:, :, low], x[:, :, high], share[:, None])
  low, high, share = places(x.shape[1], height)
  return lerp(x[:, low], x[:, high], share[:, None, None])


def centres(scale: float, new: int):
  """f32[new]: where new pixels lie among old ones, rounded once, as PyTorch rounds."""
  at = (np.arange(new) + 0.5) * np.float64(np.float32(scale)) - 0.5
  return at.astype(np.float32)


def lerp(a, b, share):
  return a + (b - a) * share


def bicubic(size: int, new: int, a: float, antialias: bool, scale: float | None = None):
  """The matrix f32[new size] of a bicubic resize, centres of pixels aligned.

  Args:
    a: of the kernel: -0.5 in Pillow and in what is antialiased in PyTorch, -0.75 in
      PyTorch's other.
    antialias: the kernel is as wide as `scale` where that is above 1, and cut off and
      normalised at an edge; else the pixel at the edge stands for those beyond.
    scale: distance of two new pixels in old ones; None for size / new.
  """
  scale = size / new if scale is None else scale
  if antialias:  # the centre is rounded before its half pixel is taken off
    at = np.float32(np.arange(new) + 0.5) * np.float32(scale) - np.float64(0.5)
    weights = keys(np.abs(at[:, None] - np.arange(size)) / max(scale, 1.0), a)
    return np.float32(weights / weights.sum(1, keepdims=True))
  old = np.arange(-3, size + 3)
  weights = keys(np.abs(centres(scale, new)[:, None] - np.float64(old)), a)
  return np.float32(weights @ (old.clip(0, size - 1)[:, None] == np.arange(size)))


def keys(x, a: float):
  """The cubic kernel of distances x."""
  near = ((a + 2) * x - (a + 3)) * x * x + 1
  far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
  return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
