"""Trained models: of a run, an export, or a public pipeline's folder."""
import dataclasses
import functools
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from configs import base as configs
from data import tokenizers
from inference import hub
import models
from training import checkpoint, param_files, sharding, workdir as workdirs
from training.build import averages_shapes, build_objective, drawn_params


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """Attributes:
    config: of the run; its `sample` says how it is drawn from.
    tokenizer: of its prompts.
    module: TextToImage.
    params: averaged parameters, on the devices of `mesh`.
    mesh: over which pictures are drawn.
    source: where the parameters come from, in a few words.
    programs: compiled samplers, kept for the next call: inference.generation.
  """
  config: Any
  tokenizer: Any
  module: Any
  params: Any
  mesh: Any
  source: str
  programs: dict = dataclasses.field(default_factory=dict)

  def replace(self, **fields):
    """This model with other fields, such as parameters; it shares the programs."""
    return dataclasses.replace(self, **fields)

  @property
  def size(self) -> tuple[int, int]:
    """(height, width) of the pictures that it was trained on."""
    return configs.height_width(self.config.data.size)


def load(place: str, mesh=None, config=None, **how) -> Model:
  """The model of a workdir, of its newest checkpoint, or of a public pipeline.

  Args:
    place: a workdir, also an exported one; a folder as diffusers saves pipelines; the
      name of one on the Hugging Face hub; or a file of a whole pipeline.
    mesh: None for all devices.
    config: of `config_of`, where the caller has changed its `sample`.
    how: of a pipeline: `variant`, `dtype` and `base` of pipeline_config.

  Raises:
    ValueError, OSError: there is no model, or it cannot be read.
  """
  place = hub.folder_of(place, how.get('variant'))
  mesh = mesh or sharding.make_mesh()
  if is_pipeline(place) or os.path.isfile(place):
    return load_pipeline(config or pipeline_config(place, **how), mesh,
                         how.get('variant'))
  c = config or config_of(place)
  tokenizer = tokenizers.load(workdirs.tokenizer_path(place))
  module = models.build(c, tokenizer.get_vocab_size())
  whole = sharding.replicated(mesh)
  if workdirs.exported(place):
    path = os.path.join(place, param_files.FILE)
    known = param_files.modules_in(path) == param_files.modules_of(c)
    params = param_files.load(path, None if known else models.param_shapes(
        module, configs.height_width(c.data.size), c.tokenizer.length))
    return Model(c, tokenizer, module, sharding.place_params(params, mesh), mesh,
                 param_files.FILE)
  step, params = restored(place, c, module, whole)
  params = drawn_params(build_objective(c, module), params)
  return Model(c, tokenizer, module, params, mesh, f'checkpoint {step}')


def restored(place: str, c, module, placed):
  """(step, all parameters by the first average) of a run's newest checkpoint.

  placed: the sharding of all of them. Raises ValueError if there is none to read.
  """
  if not workdirs.started(place):
    raise ValueError(f'{place}: the run has no checkpoint yet.')
  found = checkpoint.Checkpoints(place, read_only=True).restore_ema(
      averages_shapes(c, module, placed))
  if found is None:
    raise ValueError(f'{place}: no checkpoint in it can be read.')
  step, averages = found
  return step, averages[0]


def is_pipeline(place: str | None) -> bool:
  """Whether a folder is a public pipeline."""
  return bool(place) and os.path.isfile(os.path.join(place, 'model_index.json'))


def config_of(place: str | None, flag: str = 'workdir'):
  """The config of a workdir or a pipeline. flag: what gave the place, for messages."""
  if is_pipeline(place):
    return pipeline_config(place)
  return workdirs.load_config(place, flag)


def pipeline_config(place: str, note=lambda line: None, variant: str | None = None,
                    dtype: str | None = None, base: str | None = None):
  """The config of a public pipeline.

  Args:
    place: its folder, its name on the hub, or a file of its weights in the layout of
      the original code.
    note: called with each line that the user is to know of how the files are read.
    variant: 'fp16' of files such as model.fp16.safetensors, where there are any.
    dtype: of the parameters and of matrix products; None for bfloat16 but on a CPU.
    base: of such a file, the pipeline, a folder or a name, that has what the file
      lacks; None for the one that diffusers takes it for.

  Raises ValueError for a folder that is none, or has odd parts.
  """
  from interop import pipelines  # an edge: all else does without it
  if os.path.isfile(place):
    parts = parts_of_file(place, base, variant)
  elif base:
    raise ValueError(f'{place} is no file of a whole pipeline, which alone has a base.')
  else:
    parts = pipelines.read(hub.folder_of(place, variant))
  for line in parts['notes']:
    note(line)
  c = configs.get_config()
  for name in configs.MODULE_KEYS:
    c[name] = ConfigDict(parts[name])
  for name in ('data', 'diffusion', 'sample', 'tokenizer'):
    c[name].update(parts[name])
  c.model.dtype = dtype or (
      'float32' if jax.default_backend() == 'cpu' else 'bfloat16')
  c.sample.update(dict(clip='none', batch=4))
  c.init_from = parts['init_from']
  return c


def parts_of_file(path: str, base: str | None, variant: str | None) -> dict:
  """Parts of a config: those of a base, with the weights of a file. Of the base no
  weights are downloaded that the file has."""
  from interop import original, single_file
  place = base or original.base_of(path)
  try:
    folder = hub.folder_of(place, variant, ())
    parts = single_file.read(path, folder)
    hub.folder_of(place, variant, [os.path.basename(at) for _, at in parts['init_from']
                                   if at != path])
  except ValueError as e:
    if base:
      raise
    raise ValueError(f'{path} has no tokenizer; that of {place} is sought (--base '
                     f'chooses another pipeline): {e}') from e
  taken = f'{path} is taken for weights of {place}, as in diffusers.'
  return parts | dict(notes=parts['notes'] if base else (taken, *parts['notes']))


def load_pipeline(c, mesh, variant: str | None = None) -> Model:
  """The model and weights of a pipeline_config.

  The weights lie in config.model.dtype, as they are only drawn with. One leaf after
  another goes from its file to the devices.
  """
  from interop import weights as public
  t = c.tokenizer
  tokenizer = tokenizers.public(t.files, t.lower, t.absent)
  module, params = models.build(c, tokenizer.get_vocab_size()), {}
  shapes = models.param_shapes(module, configs.height_width(c.data.size),
                               c.tokenizer.length)
  whole = sharding.replicated(mesh)
  put = lambda shape, read: jax.make_array_from_callback(shape, whole, read)
  for part, place in c.init_from:
    *above, last = part.split('/')
    at = functools.reduce(lambda tree, name: tree.setdefault(name, {}), above, params)
    at[last] = public.load(place, param_files.part_of(shapes, part),
                           jnp.dtype(c.model.dtype), variant, put,
                           part=part)
  return Model(c, tokenizer, module, params, mesh, 'public weights')


def without_optional(tree, at: str, optional: str):
  """A tree of parameters below 'a/b' without those whose names a regex matches."""
  if not isinstance(tree, dict):
    return tree
  return {name: without_optional(part, f'{at}/{name}', optional)
          for name, part in tree.items() if not re.fullmatch(optional, f'{at}/{name}')}


def read_part(part: str, place: str, params, objective_parts=(), optional: str = ''):
  """The values of a row of config.init_from, as a tree of arrays on the host.

  Args:
    part: 'a/b', what lies below it in `params`, which may be shapes.
    place: an exported workdir, or a folder or file of diffusers or transformers.
    objective_parts: names of further parts, with the model's own parts below them.
    optional: a regex of names that the file may lack; None stands for them.

  Raises:
    ValueError: another form, or what does not fit.
  """
  shapes = param_files.part_of(params, part)
  if not workdirs.exported(place):
    from interop import weights as public
    return public.load(place, without_optional(shapes, part, optional),
                       part=part)
  first, _, rest = part.partition('/')
  return param_files.load(os.path.join(place, param_files.FILE), shapes,
                          rest if first in objective_parts else part, optional)
