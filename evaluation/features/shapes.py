"""A small network that knows the shapes world: features for distances, offline.

examples/shapes_features.py trains it, in a minute, to name what is in a picture; its
weights are in the repository.
"""
import pathlib

from flax import linen as nn
import numpy as np

ROOT = pathlib.Path(__file__).parent.parent.parent
FILE = str(ROOT / 'weights' / 'features' / 'shapes.safetensors')
SIZE = 32  # pixels a side
NORMAL = np.float32(240 / 255), np.float32(-64 / 255)  # the canvas is 0
# Features; and what they are learned by: which colours, shapes and both together are in
# a picture, and how the one of two objects that comes first in data.sources.shapes
# stands to the other: none, left of, right of, above, below.
OUTPUTS = {'pool': 128, 'colours': 7, 'shapes': 6, 'objects': 42, 'relation': 5}


class ShapesNet(nn.Module):
  """Four convolutions, a layer of features, and heads that are trained with it."""
  HEADS = tuple(name for name in OUTPUTS if name != 'pool')

  @nn.compact
  def __call__(self, x):
    """f32[b 32 32 3], normalised by NORMAL -> {output: f32[b width]}, of OUTPUTS."""
    for i, (width, size, stride) in enumerate(
        ((32, 5, 2), (64, 3, 1), (96, 3, 2), (96, 3, 1))):
      x = nn.relu(nn.Conv(width, (size, size), stride, name=f'conv{i}')(x))
    x = nn.max_pool(x, (2, 2), (2, 2)).reshape(len(x), -1)  # [b 4 4 96]
    pool = nn.relu(nn.Dense(OUTPUTS['pool'], name='features')(x))
    return {'pool': pool} | {name: nn.Dense(width, name=name)(pool)
                             for name, width in OUTPUTS.items() if name in self.HEADS}
