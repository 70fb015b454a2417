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
    c: a config, of which `model`, `condition`, `autoencoder`, `tokenizer.length`,
      `data.size` (pixels: a side, or height and width) and `diffusion.learned_weight`
      are read. `model` has `name`, `dtype` and the fields of that backbone; the next
      two have `name` and the fields of what encodes the condition, and pictures.
    vocab: tokens of the tokenizer; None for config.tokenizer.vocab.

  Raises:
    ValueError: an unknown name, dtype or field, or one that makes no sense, with what
      is accepted.
  """
  vocab = c.tokenizer.vocab if vocab is None else vocab
  length, size = c.tokenizer.length, c.data.size
  fields = dict(c.model)
  dtype = fields.pop('dtype', 'float32')
  if dtype not in DTYPES:
    raise ValueError(f'config.model.dtype is {dtype!r}, not one of {sorted(DTYPES)}.')
  dtype = DTYPES[dtype]
  autoencoder = build_module(AUTOENCODERS, c.autoencoder, 'config.autoencoder',
                             dtype=dtype)
  autoencoder.check()
  backbone = build_module(BACKBONES, fields, 'config.model', dtype=dtype,
                          channels=autoencoder.channels)
  encoder = build_module(CONDITIONS, c.condition, 'config.condition', dict(
      vocab=vocab, length=length), dtype=dtype)
  uncertainty = text_to_image.Uncertainty() if c.diffusion.learned_weight else None
  model = text_to_image.TextToImage(encoder, backbone, autoencoder, uncertainty)
  model.check(tuple(size) if isinstance(size, tuple | list) else (size, size))
  encoder.check(vocab, length)
  check_reading(backbone, encoder, f"config.condition.name is '{c.condition['name']}'")
  return model


def check_reading(backbone, encoder, what: str):
  """Raises ValueError for a condition that a backbone does not read, or cannot do with.

  what: that condition, for the message.
  """
  if missing := sorted(backbone.needs - encoder.gives - context.GIVEN):
    raise ValueError(f'{what}, which gives no {" and no ".join(missing)}; this '
                     'config.model cannot do without.')
  if encoder.gives and not (encoder.gives - {'mask'}) & backbone.reads:
    raise ValueError(f'{what}, which gives {sorted(encoder.gives)}; this config.model '
                     f'reads {sorted(backbone.reads)}: it would not see it.')


def build_module(table, given, key: str, required=None, **ours):
  """table[given['name']] of the other fields given.

  required: values of fields that have no default, for a module that has them. ours: of
  fields that every module has. The user may give neither.
  """
  fields = dict(given)
  name = fields.pop('name', None)
  if name not in table:
    raise ValueError(f'{key}.name is {name!r}, not one of {sorted(table)}.')
  row = table[name]
  known = {field.name: field.default for field in dataclasses.fields(row)
           if field.name not in {'parent', 'name', *ours}}
  bare = {name for name, usual in known.items() if usual is dataclasses.MISSING}
  ours |= {name: value for name, value in (required or {}).items() if name in bare}
  known = {name: usual for name, usual in known.items() if name not in ours}
  if extra := fields.keys() - known:
    raise ValueError(f'{key} has {sorted(extra)}; {name!r} takes only {sorted(known)}.')
  if missing := sorted(bare - ours.keys() - fields.keys()):
    raise ValueError(f'{key} lacks {missing}, which {name!r} needs.')
  for field, value in fields.items():
    if field not in bare and not checks.alike(value, known[field]):
      raise ValueError(f'{key}.{field} is {value!r}; it must be like {known[field]!r}.')
  return row(**fields, **ours)
