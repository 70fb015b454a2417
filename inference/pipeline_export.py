"""A model as a public pipeline: the folder that diffusers loads.

What is written is read again, as any pipeline is, and compared: nothing that the files
cannot say is lost without a word.
"""
import functools
import json
import math
import os

from safetensors import numpy as storage

from configs import base
from console import files
from data import public
from diffusion import sampling, schedules, specs, timesteps
from diffusion.solvers import SOLVERS
from inference import loading
from inference.adapters import modules_of
from inference.loading import Model
import models
from training.param_files import DTYPES

SAME = {'dpmpp_2m': 'dpmpp(order=2)', 'dpmpp_2m_sde': 'dpmpp(order=2, eta=1.0)'}
TABLES = {  # keys of a config that a scheduler says, and their rows
    'sample.solver': SOLVERS, 'sample.timesteps': timesteps.TIMESTEPS,
    'sample.prior': sampling.PRIORS, 'diffusion.schedule': schedules.SCHEDULES}
ARGUMENTS = 'rule', 'over_time', 'interval', 'rescale', 'clip'  # that none says
WEIGHTS = {'diffusers': 'diffusion_pytorch_model.safetensors',
           'transformers': 'model.safetensors'}


def export(model: Model, folder: str, dtype: str = 'float32') -> str:
  """Writes model_index.json, scheduler, tokenizers, and each part with its weights.

  Args:
    model: of inference.load.
    folder: that exists.
    dtype: of the weights: of training.param_files.DTYPES.

  Returns the class of the pipeline. Raises ValueError for what no pipeline of diffusers
  is, by key.
  """
  from interop import described, exported
  c = model.config
  index, parts = described.pipeline(
      {key: c[key].name for key in base.MODULE_KEYS}, model.module,
      base.height_width(c.data.size), c.tokenizer.length)
  if not isinstance(model.tokenizer, public.Public):
    raise ValueError('config.tokenizer.files is empty: the tokenizer is one of the '
                     "captions' own, and pipelines of diffusers have CLIP's or T5's.")
  if c.tokenizer.added:
    raise ValueError('config.tokenizer.added has learned tokens, which go alone, by '
                     'export.py --embedding, or as adapters beside a pipeline.')
  write(folder, 'scheduler', 'scheduler_config.json', value=scheduler_of(c, index))
  for name, fields in parts.items():
    write(folder, name, 'config.json', value=fields)
  names = write_tokenizers(folder, model, list(parts))
  index |= {name: ['transformers', kind] for name, kind in names.items()}
  index['scheduler'] = ['diffusers', files.read_json(
      os.path.join(folder, 'scheduler', 'scheduler_config.json'))['_class_name']]
  write(folder, 'model_index.json', value=dict(sorted(index.items())))
  for module in modules_of(c, model.module):
    arrays = exported.arrays(module, model.params, DTYPES[dtype])
    path = os.path.join(folder, module.folder, WEIGHTS[index[module.folder][0]])
    storage.save_file(arrays, path, metadata={'format': 'pt'})
  compare(folder, model)
  return index['_class_name']


def write(*path, value):
  """A JSON file, and the folder that it is in."""
  os.makedirs(os.path.dirname(os.path.join(*path)), exist_ok=True)
  files.write_json(os.path.join(*path), value)


@functools.cache
def plain(key: str, spec: str) -> tuple:
  """(name, {option: value}) of a choice of TABLES, with what it has by default."""
  table = TABLES[key]
  name, options = specs.check(table, SAME.get(spec, spec), key)
  return name, specs.options_of(table[name]) | options


def alike(a, b) -> bool:
  """Whether values are equal, numbers to a hundred-thousandth."""
  if isinstance(a, dict):
    return a.keys() == b.keys() and all(alike(a[key], b[key]) for key in a)
  if isinstance(a, tuple | list) and isinstance(b, tuple | list):
    return len(a) == len(b) and all(map(alike, a, b))
  if isinstance(a, float) or isinstance(b, float):
    return math.isclose(a, b, rel_tol=1e-5)
  return a == b


def drawn_by(diffusion, sample) -> dict:
  """What a scheduler says of a config's `diffusion` and `sample`, comparable."""
  return dict(
      solver=plain('sample.solver', sample['solver']),
      timesteps=plain('sample.timesteps', sample['timesteps']),
      prior=plain('sample.prior', sample.get('prior', 'marginal')),
      schedule=plain('diffusion.schedule', diffusion['schedule']),
      target=diffusion['target'], input_std=diffusion.get('input_std', 0.0))


def scheduler_of(c, index) -> dict:
  """The fields of the scheduler that draws as a config does.

  Raises ValueError, by key, for what diffusers has none of.
  """
  from interop import scheduler_search
  usual, wanted = base.get_config().sample, drawn_by(c.diffusion, c.sample)
  for key in ARGUMENTS:
    if c.sample[key] != (usual[key] if key != 'clip' else 'none'):
      raise ValueError(f'config.sample.{key} is {c.sample[key]!r}, of which pipelines '
                       'of diffusers know nothing.')
  process = {key: wanted[key] for key in ('schedule', 'target')}
  found = scheduler_search.find(
      process, lambda read: alike(drawn_by(read['diffusion'], read['sample']), wanted),
      wanted['solver'][1] | wanted['timesteps'][1],
      corrected=('steps_offset',) * (index['_class_name'] in (
          'StableDiffusionPipeline', 'StableDiffusionInpaintPipeline')))
  if found is None and not scheduler_search.fields_of(process):
    raise ValueError(f'config.diffusion.schedule is {c.diffusion.schedule!r} and '
                     f'target {c.diffusion.target!r}: no scheduler of these pipelines '
                     'is so.')
  if found is None:
    raise ValueError(
        f'config.sample.solver is {c.sample.solver!r} and timesteps '
        f'{c.sample.timesteps!r}: diffusers has no scheduler of both. Give others that '
        'it has, such as --sample.solver=ddim --sample.timesteps="leading(offset=1)", '
        'or of a flow --sample.solver=euler --sample.timesteps="shifted(shift=1.0, '
        'end=0.001)".')
  return found


def write_tokenizers(folder: str, model: Model, parts: list[str]) -> dict:
  """Writes the tokenizer of each text encoder. Returns {folder: class}."""
  encoders = [name for name in parts if name.startswith('text_encoder')]
  found, own = {}, model.tokenizer.parts
  if len(own) < len(encoders):  # both CLIPs read the same tokens
    own = own[:1] * (1 + len(encoders) - len(own)) + own[1:]
  pads = clip_pads(model.module.text_encoder)
  for i, (encoder, (tokenizer, length)) in enumerate(zip(encoders, own)):
    name = encoder.replace('text_encoder', 'tokenizer')
    made = json.loads(tokenizer.to_str())
    at = os.path.join(folder, name)
    if i < len(pads):
      found[name] = 'CLIPTokenizer'
      first, last = '<|startoftext|>', '<|endoftext|>'
      special = dict(bos_token=first, eos_token=last, unk_token=last,
                     pad_token=tokenizer.id_to_token(pads[i]))
      write(at, 'vocab.json', value=made['model']['vocab'])
      merges = [pair if isinstance(pair, str) else ' '.join(pair)
                for pair in made['model']['merges']]
      files.write_text(os.path.join(at, 'merges.txt'),
                       '\n'.join(['#version: 0.2', *merges]) + '\n')
    else:
      found[name] = 'PreTrainedTokenizerFast'
      special = dict(eos_token='</s>', unk_token='<unk>', pad_token='<pad>')
      write(at, 'tokenizer.json', value=made)
    write(at, 'special_tokens_map.json', value=special)
    write(at, 'tokenizer_config.json', value=special | dict(
        tokenizer_class=found[name], model_max_length=length))
  return found


def clip_pads(encoder) -> tuple:
  """What stands after the end of a text, of each CLIP of a text encoder."""
  if hasattr(encoder, 'pad'):
    return (encoder.pad,)
  if hasattr(encoder, 'pads'):
    return encoder.pads or (encoder.end or encoder.vocab - 1, 0)
  return ()


def compare(folder: str, model: Model):
  """Raises ValueError, by field, where a pipeline is another than the model."""
  got = loading.pipeline_config(folder, dtype='float32')
  tokenizer = public.public(got.tokenizer.files, got.tokenizer.lower)
  module = models.build(got, tokenizer.get_vocab_size())
  ours, theirs = said_of(model.config, model.module), said_of(got, module)
  for section, fields in ours.items():
    for name, value in fields.items():
      if not alike(value, there := theirs[section].get(name)):
        raise ValueError(f'config.{section} has {name} {value!r}, which in a pipeline '
                         f'of diffusers is {there!r}.')
  own, again = model.tokenizer.parts, tokenizer.parts
  for (a, length), (b, there) in ((own[0], again[0]), (own[-1], again[-1])):
    if length != there:
      raise ValueError(f'config.tokenizer.files has a length of {length}, which in a '
                       f'pipeline of diffusers is {there}.')
    for text in ('', *model.config.sample.prompts):
      if a.encode(text).ids != b.encode(text).ids:
        raise ValueError(f'the tokenizer reads {text!r} otherwise in a pipeline of '
                         'diffusers.')


def said_of(c, module) -> dict[str, dict]:
  """{section of a config: {field: value}} of what pictures depend on."""
  from interop import described
  texts = described.encoders(c.condition.name, module.text_encoder)
  return {'model': fields_of(module.backbone),
          'autoencoder': fields_of(module.autoencoder),
          'condition': {name: fields_of(one) for name, (one, _) in texts.items()},
          'diffusion or sample': drawn_by(c.diffusion, c.sample),
          'tokenizer': {'lower': c.tokenizer.lower},
          'data': {'size': base.height_width(c.data.size)}}


def fields_of(module) -> dict:
  """{field: value} of a module, without what only says how it is computed."""
  return {name: value for name, value in vars(module).items()
          if name[0] != '_' and name not in ('parent', 'name', 'dtype', 'remat')}
