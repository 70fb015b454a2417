"""ControlNets of files beside a model's U-Net: arXiv:2302.05543."""
import jax
import jax.numpy as jnp

from inference import hub
from inference.adapters import path_and_weight
from inference.loading import Model
import models
from training import param_files, sharding


def add_controlnet(model: Model, given: str, variant: str | None = None) -> Model:
  """A model that is led by a picture, too: request.control.

  Args:
    given: the folder of a ControlNet as diffusers saves it, or its name on the hub;
      alone, or with what it is multiplied by, as 'canny:0.8'.
    variant: as of loading.pipeline_config.

  Raises:
    ValueError, OSError: there is no such folder, or it is for another U-Net.
  """
  from interop import backbones, weights  # an edge: all else does without it
  path, scale = path_and_weight(given, 'controlnet')
  path = hub.folder_of(path, variant, ('',))
  c = model.config.copy_and_resolve_references().unlock()
  c.model.update(backbones.controlnet(path, dict(c.model), model.module.autoencoder),
                 control_scale=scale)
  module = models.build(c.lock(), model.tokenizer.get_vocab_size())
  shapes = models.param_shapes(module, model.size, c.tokenizer.length)
  whole = sharding.replicated(model.mesh)
  control = weights.load(
      path, param_files.part_of(shapes, 'backbone/control'), jnp.dtype(c.model.dtype),
      variant, lambda shape, read: jax.make_array_from_callback(shape, whole, read),
      family='controlnet')
  params = model.params | {'backbone': model.params['backbone'] | {'control': control}}
  return model.replace(config=c, module=module, params=params, programs={},
                       source=f'{model.source}, {path}:{scale:g}')
