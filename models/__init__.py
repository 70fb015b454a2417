"""Flax Linen models, built by name from a config."""
import jax.numpy as jnp

from models import condition, dit, edm2, mmdit, text_to_image, unet, uvit

BACKBONES = {'dit': dit.DiT, 'edm2': edm2.EDM2, 'mmdit': mmdit.MMDiT,
             'unet': unet.UNet, 'uvit': uvit.UViT}
CONDITIONS = {'text': condition.Text, 'class': condition.Class,
              'none': condition.Nothing}
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def build(model, condition, *, vocab: int, length: int, size: int):
  """The module of a config's `model` and `condition`.

  Args:
    model: mapping with `name`, `dtype` and the fields of that backbone.
    condition: mapping with `name` and the fields of what encodes the condition.
    vocab, length: of the tokens.
    size: of what the backbone sees, height and width.

  Raises:
    ValueError: an unknown name, dtype or field, or one that makes no sense, with what
      is accepted.
  """
  given = dict(model)
  dtype = given.pop('dtype', 'float32')
  if dtype not in DTYPES:
    raise ValueError(f'config.model.dtype is {dtype!r}, not one of {sorted(DTYPES)}.')
  backbone = make(BACKBONES, given, 'config.model', dtype=DTYPES[dtype])
  backbone.check(size)
  text = {'vocab': vocab, 'length': length} if condition.get('name') == 'text' else {}
  encoder = make(CONDITIONS, condition, 'config.condition', dtype=DTYPES[dtype], **text)
  encoder.check()
  return text_to_image.TextToImage(encoder, backbone)


def make(table, given, key: str, **ours):
  """table[given['name']] of the other fields given; the user may not give `ours`."""
  fields = dict(given)
  name = fields.pop('name', None)
  if name not in table:
    raise ValueError(f'{key}.name is {name!r}, not one of {sorted(table)}.')
  known = table[name].__dataclass_fields__.keys() - {'parent', 'name', *ours}
  if extra := fields.keys() - known:
    raise ValueError(f'{key} has {sorted(extra)}; {name!r} takes only {sorted(known)}.')
  return table[name](**fields, **ours)
