"""Numbers that follow from a name, the same with any package and version."""
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
