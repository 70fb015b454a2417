"""LPIPS with VGG16, version 0.1: arXiv:1801.03924 eq. 1."""
from flax import linen as nn
import jax.numpy as jnp
import numpy as np

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # width and layers of each
SHIFT = np.float32([-0.030, -0.088, -0.188])
SCALE = np.float32([0.458, 0.448, 0.450])


class LPIPS(nn.Module):
  """f32[b h w 3] in [-1, 1], h and w of 16 or more -> {'features': f32[b d]}.

  The squared distance of two pictures' features is their LPIPS: the activations of each
  stage, of unit length at each place, times the root of the stage's head, over the root
  of the number of places. d follows from h and w.
  """

  @nn.compact
  def __call__(self, x):
    x, found = (x - SHIFT) / SCALE, []
    for i, (width, depth) in enumerate(STAGES):
      if i:
        x = nn.max_pool(x, (2, 2), (2, 2))
      for j in range(depth):
        x = nn.relu(nn.Conv(width, (3, 3), name=f'conv_{i}_{j}')(x))
      head = self.param(f'head_{i}', nn.initializers.ones, (width,))
      length = jnp.sqrt((x * x).sum(-1, keepdims=True))
      places = x.shape[1] * x.shape[2]
      unit = x / (length + 1e-10) * jnp.sqrt(head / places)
      found.append(unit.reshape(len(x), -1))
    return {'features': jnp.concatenate(found, -1)}


def lpips(params, a, b):
  """LPIPS of pairs of pictures, f32[b h w 3] in [-1, 1] each: f32[b]."""
  first, second = (LPIPS().apply({'params': params}, x)['features'] for x in (a, b))
  return jnp.square(first - second).sum(-1)
