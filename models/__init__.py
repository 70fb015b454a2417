"""Flax Linen models, built by name from a config."""
import jax.numpy as jnp

from models import autoencoder as autoencoders, condition as contexts
from models import check, clip, dit, edm2, microdit, mmdit, t5, text_encoders
from models import text_to_image, unet, uvit

BACKBONES = {'dit': dit.DiT, 'edm2': edm2.EDM2, 'microdit': microdit.MicroDiT,
             'mmdit': mmdit.MMDiT, 'unet': unet.UNet, 'uvit': uvit.UViT}
CONDITIONS = {'text': contexts.Text, 'class': contexts.Class,
              'none': contexts.Nothing, 'clip': clip.CLIP, 't5': t5.T5,
              'clips': text_encoders.Clips, 'sd3': text_encoders.SD3}
AUTOENCODERS = {'none': autoencoders.Pixels, 'kl': autoencoders.KL}
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build(model, condition, autoencoder, *, vocab: int, length: int, size: int):
  """The module of a config's `model`, `condition` and `autoencoder`.

  Args:
    model: mapping with `name`, `dtype` and the fields of that backbone.
    condition, autoencoder: mappings with `name` and the fields of what encodes the
      condition, and of what encodes pictures.
    vocab, length: of the tokens.
    size: of the pictures, height and width in pixels.

  Raises:
    ValueError: an unknown name, dtype or field, or one that makes no sense, with what
      is accepted.
  """
  fields = dict(model)
  dtype = fields.pop('dtype', 'float32')
  if dtype not in DTYPES:
    raise ValueError(f'config.model.dtype is {dtype!r}, not one of {sorted(DTYPES)}.')
  ours = {'dtype': DTYPES[dtype]}
  first = make(AUTOENCODERS, autoencoder, 'config.autoencoder', **ours)
  first.check()
  check.multiple(size, first.factor, 'of what is one latent')
  backbone = make(BACKBONES, fields, 'config.model', channels=first.channels, **ours)
  backbone.check(size // first.factor)
  if condition.get('name') == 'text':
    ours |= {'vocab': vocab, 'length': length}
  encoder = make(CONDITIONS, condition, 'config.condition', **ours)
  encoder.check()
  check_tokens(encoder, vocab, length)
  check_reading(backbone, encoder, f"config.condition.name is '{condition['name']}'")
  return text_to_image.TextToImage(encoder, backbone, first)


def check_tokens(encoder, vocab: int, length: int):
  """Raises ValueError for tokens that an encoder has no place for."""
  if isinstance(encoder, contexts.Class) and length < 2:
    raise ValueError(f'config.tokenizer.length is {length}; a class takes 2.')
  most = clip.CLIP.length if isinstance(encoder, text_encoders.Clips) else (
      encoder.length if isinstance(encoder, clip.CLIP) else length)
  if length > most:
    raise ValueError(f'config.tokenizer.length is {length}; CLIP takes up to {most}.')
  known = max(getattr(encoder, key, 0) for key in ('vocab', 't5_vocab'))
  if 0 < known < vocab:
    raise ValueError(f'config.condition.vocab is {known}; the tokenizer has {vocab} '
                     'tokens. Is it the one that the text encoder was trained with?')


def check_reading(backbone, encoder, what: str):
  """Raises ValueError for a condition that a backbone does not read, or cannot do with.

  what: that condition, for the message.
  """
  needs = (isinstance(backbone, microdit.MicroDiT | mmdit.MMDiT)
           or getattr(backbone, 'cross', False))
  if needs and isinstance(encoder, contexts.Nothing):
    raise ValueError(f'{what}, but this config.model attends to a text or a class.')
  attends = (needs or isinstance(backbone, uvit.UViT)
             or getattr(backbone, 'kind', 'self') != 'self')
  if isinstance(encoder, t5.T5) or getattr(encoder, 'pooled', '') == 'none':
    if not attends:
      raise ValueError(f'{what}, a text without a summary, but this config.model does '
                       'not attend to texts: it would not see it.')
    if isinstance(backbone, mmdit.MMDiT):
      raise ValueError(f'{what}, a text without a summary, which an mmdit needs.')


def make(table, given, key: str, **ours):
  """table[given['name']] of the other fields given; the user may not give `ours`."""
  fields = dict(given)
  name = fields.pop('name', None)
  if name not in table:
    raise ValueError(f'{key}.name is {name!r}, not one of {sorted(table)}.')
  known = table[name].__dataclass_fields__.keys() - {'parent', 'name', *ours}
  if extra := fields.keys() - known:
    raise ValueError(f'{key} has {sorted(extra)}; {name!r} takes only {sorted(known)}.')
  for field, value in fields.items():
    usual = getattr(table[name], field, None)  # the default
    if usual is not None and not check.alike(value, usual):
      raise ValueError(f'{key}.{field} is {value!r}; it must be like {usual!r}.')
  return table[name](**fields, **ours)
