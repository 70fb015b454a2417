"""Adapters of files put into a model, and those of a run written to a file."""
import math

import jax

from data import tokenizers
from inference import loading
from inference.loading import Model
import models
from models import lora
from training import rules, sharding, workdir as workdirs
from training.adapters import scale_of
from training.build import build_objective, frozen_params


def modules_of(c, module) -> list:
  """The modules of public pipelines that the parts of a model are: interop.parts."""
  from interop import parts  # an edge: all else does without it
  names = {'backbone': c.model.name, 'text_encoder': c.condition.name,
           'autoencoder': c.autoencoder.name}
  return parts.modules_of({part: (name, getattr(module, part))
                           for part, name in names.items()})


def add_adapters(model: Model, *files) -> Model:
  """A model with the adapters of LoRA files in its kernels; their changes add up.

  Args:
    files: paths, also of folders that PEFT saved: each alone, or with the weight that
      it has, as ('style.safetensors', 0.8) or 'style.safetensors:0.8'.

  Raises:
    ValueError, OSError: there is no such file, or it is not for this model.
  """
  from interop import lora as lora_files
  base, modules = model.params, modules_of(model.config, model.module)
  params, said = base, model.source
  for given in files:
    path, weight = path_and_weight(given) if isinstance(given, str) else given
    adapters = lora_files.read(path, base, modules)
    changed = lora.merged(base, adapters, weight)
    params = changed if params is base else jax.tree.map(
        lambda p, new, old: p if new is old else p + (new - old), params, changed, base)
    said += f', {path}:{weight:g}'
  return model.replace(params=params, source=said)


def path_and_weight(given: str, flag: str = 'lora') -> tuple[str, float]:
  """(file, weight) of 'FILE:0.8' or of 'FILE'. Raises ValueError for one not finite."""
  path, _, weight = given.rpartition(':')
  try:
    weight = float(weight)
  except ValueError:
    return given, 1.0
  if not path or not math.isfinite(weight):
    raise ValueError(f'--{flag}={given} is not FILE, or FILE:WEIGHT with a finite '
                     'weight.')
  return path, weight


def save_adapters(workdir: str, c, path: str, layout: str):
  """Writes the averaged adapters of a run alone: interop.lora_export.save.

  Raises ValueError for a run without adapters, or one that trains more than them.
  """
  from interop import lora_export
  if not c.lora.layers:
    raise ValueError(f'{workdir} has no adapters: its config.lora.layers is empty.')
  tokenizer = tokenizers.load(workdirs.tokenizer_path(workdir))
  module = models.build(c, tokenizer.get_vocab_size())
  _, params = loading.restored(workdir, c, module,
                               sharding.replicated(sharding.make_mesh()))
  frozen = frozen_params(c, build_objective(c, module), params)
  for name, kept in rules.by_name(frozen).items():
    if not kept and not name.startswith('lora/'):
      raise ValueError(f'{workdir} trains {name!r}, too: its adapters are not all that '
                       'it learned. Without --lora all is exported.')
  adapters = jax.tree.map_with_path(
      lambda at, x: x * scale_of(c.lora) if at[-1].key == 'b' else x,
      params.pop('lora'))
  lora_export.save(path, jax.device_get(adapters), params, modules_of(c, module),
                   layout)
