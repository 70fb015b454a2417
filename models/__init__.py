"""Flax Linen models, built by name from a config."""
import jax.numpy as jnp

from models import text, text_to_image, unet

BACKBONES = {'unet': unet.UNet}
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build(model, encoder, *, vocab: int, length: int, size: int):
  """The module of a config's `model` and `text`.

  Args:
    model: mapping with `name`, `dtype` and the fields of that backbone.
    encoder: mapping of fields of TextEncoder.
    vocab, length: of the tokens.
    size: pixels, height and width.

  Raises:
    ValueError: an unknown name, dtype or field, with what is accepted.
  """
  fields = dict(model)
  name, dtype = fields.pop('name'), fields.pop('dtype')
  if name not in BACKBONES:
    raise ValueError(f'config.model.name is {name!r}, not one of {sorted(BACKBONES)}.')
  if dtype not in DTYPES:
    raise ValueError(f'config.model.dtype is {dtype!r}, not one of {sorted(DTYPES)}.')
  known = BACKBONES[name].__dataclass_fields__.keys() - {'parent', 'name', 'dtype'}
  if extra := fields.keys() - known:
    raise ValueError(
        f'config.model has {sorted(extra)}; {name!r} takes only {sorted(known)}.')
  if encoder['width'] % encoder['heads']:
    raise ValueError(f'config.text.heads is {encoder["heads"]}, which does not divide '
                     f'config.text.width, {encoder["width"]}.')
  for mult in fields['mults']:
    for key in ('groups', 'head_width'):
      if fields['width'] * mult % fields[key]:
        raise ValueError(f'config.model.{key} is {fields[key]}, which does not divide '
                         f'{fields["width"] * mult}, the width of a level.')
  fields['positions'] = size // fields['patch'] if fields['positions'] else 0
  return text_to_image.TextToImage(
      text.TextEncoder(vocab, length, dtype=DTYPES[dtype], **encoder),
      BACKBONES[name](dtype=DTYPES[dtype], **fields))
