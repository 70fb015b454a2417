"""From a config to the module that it describes, and what may stand beside what."""
import dataclasses

import jax.numpy as jnp

from models import checks, context, text_to_image
from models.autoencoders import AUTOENCODERS
from models.backbones import BACKBONES
from models.conditions import CONDITIONS

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build(c, vocab: int | None = None) -> text_to_image.TextToImage:
  """The module of a config.

  Args:
    c: a config, of which `model`, `condition` and `autoencoder` (each has `name` and
      the fields of that module; the first has `dtype` for all), `tokenizer.length`,
      `tokenizer.added`, `data.size` (pixels: a side, or height and width),
      `data.channels` and `diffusion.learned_weight` are read.
    vocab: tokens of the tokenizer, with those of config.tokenizer.added; None for
      config.tokenizer.vocab, without.

  Raises ValueError for an unknown name, dtype or field, or one that makes no sense,
  with what is accepted.
  """
  added = sum(vectors for _, _, vectors in c.tokenizer.get('added', ()))
  vocab = c.tokenizer.vocab if vocab is None else vocab - added
  length, size, fields = c.tokenizer.length, c.data.size, dict(c.model)
  dtype = fields.pop('dtype', 'float32')
  if dtype not in DTYPES:
    raise ValueError(f'config.model.dtype is {dtype!r}, not one of {sorted(DTYPES)}.')
  dtype = DTYPES[dtype]
  autoencoder = build_module(AUTOENCODERS, c.autoencoder, 'config.autoencoder',
                             dtype=dtype, image_channels=c.data.channels)
  autoencoder.check()
  backbone = build_module(BACKBONES, fields, 'config.model', dtype=dtype,
                          channels=autoencoder.channels)
  encoder = build_module(CONDITIONS, c.condition, 'config.condition', dict(
      vocab=vocab, length=length), added=added, dtype=dtype)
  uncertainty = text_to_image.Uncertainty() if c.diffusion.learned_weight else None
  model = text_to_image.TextToImage(encoder, backbone, autoencoder, uncertainty)
  model.check(tuple(size) if isinstance(size, tuple | list) else (size, size))
  encoder.check(vocab, length)
  what = f"config.condition.name is '{c.condition['name']}', which gives"
  if missing := sorted(backbone.needs - encoder.gives - context.GIVEN):
    raise ValueError(f'{what} no {" and no ".join(missing)}; this config.model cannot '
                     'do without.')
  if encoder.gives and not (encoder.gives - {'mask'}) & backbone.reads:
    raise ValueError(f'{what} {sorted(encoder.gives)}; this config.model reads '
                     f'{sorted(backbone.reads)}: it would not see it.')
  return model


def build_module(table, given, key: str, required=None, **ours):
  """table[given['name']] of the other fields given, checked by themselves.

  required: values of fields that have no default, for a module that has them. ours: of
  fields that every module has, or that may be left out if they are 0. The user may give
  neither.
  """
  fields = dict(given)
  name = fields.pop('name', None)
  if name not in table:
    raise ValueError(f'{key}.name is {name!r}, not one of {sorted(table)}.')
  every = {field.name: field.default for field in dataclasses.fields(table[name])}
  if ours.get('added') and 'added' not in every:
    raise ValueError(f'config.tokenizer.added has tokens to learn; {key} {name!r} has '
                     'no place for them.')
  known = {field: usual for field, usual in every.items()
           if field not in {'parent', 'name', *ours}}
  ours = {field: value for field, value in ours.items() if field in every}
  bare = {field for field, usual in known.items() if usual is dataclasses.MISSING}
  ours |= {field: value for field, value in (required or {}).items() if field in bare}
  known = {field: usual for field, usual in known.items() if field not in ours}
  if extra := fields.keys() - known:
    raise ValueError(f'{key} has {sorted(extra)}; {name!r} takes only {sorted(known)}.')
  if missing := sorted(bare - ours.keys() - fields.keys()):
    raise ValueError(f'{key} lacks {missing}, which {name!r} needs.')
  for field, value in fields.items():
    usual = known[field]
    if field not in bare and type(value) is not type(usual) and not (
        type(usual) is float and type(value) is int):  # which may stand for any number
      raise ValueError(f'{key}.{field} is {value!r}; it must be like {usual!r}.')
  module = table[name](**fields, **ours)
  checks.fields(module, key)
  return module
