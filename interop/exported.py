"""Our parameters as the arrays of public modules: weights.load the other way."""
from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from interop import parts
from models import layers
from models.kernels import axes_of


def arrays(module: parts.Module, params, dtype) -> dict[str, np.ndarray]:
  """{name: array} of a module's file, in that dtype.

  params: all parameters of the model. Raises ValueError for a parameter that such files
  have no name for.
  """
  found = {}
  flat = traverse_util.flatten_dict(parts.below(params, module.part), sep='/')
  host = {f'{module.part}/{name}': np.asarray(jax.device_get(jnp.asarray(value, dtype)))
          for name, value in flat.items()}
  for (name, block), foreign in parts.names_of(module, params).items():
    found[foreign] = array_of(module, name, foreign, host[name] if block is None
                              else host[name][block])
  if module.family == 'sd3':  # which keeps the table of places that it computes
    ours, side = module.ours, module.ours.pos_embed_max_size
    table = layers.positions(side, side, ours.width, step=ours.pos_scale)
    found['pos_embed.pos_embed'] = np.asarray(jnp.asarray(table, dtype))[None]
  return found


def array_of(module: parts.Module, name: str, foreign: str, value):
  """One array, not stacked, as the file has it."""
  axes = axes_of(name.replace('blocks/', ''), value)
  if axes is None:
    return np.ascontiguousarray(value.reshape(-1) if name.endswith('/bias') else value)
  _, middle, end = axes
  return parts.to_theirs(value, end - middle, parts.places_of(module, foreign, value))
