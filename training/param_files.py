"""A trained model as one safetensors file beside its config and tokenizer."""
import json
import re
import zlib

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors import numpy as storage

from training import rules

FILE = 'weights.safetensors'
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16, 'float16': jnp.float16}


def modules_of(c) -> str:
  """What of a config decides which parameters there are, in a word."""
  parts = [c.model, c.condition, c.autoencoder, c.tokenizer.length, c.tokenizer.vocab,
           c.data.size, c.diffusion.learned_weight]
  plain = [dict(part) if hasattr(part, 'items') else part for part in parts]
  return f'{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}'


def modules_in(path: str) -> str | None:
  """The same of the config that a file was written for; None if it does not say."""
  try:
    with safetensors.safe_open(path, 'np') as file:
      return (file.metadata() or {}).get('modules')
  except (safetensors.SafetensorError, OSError) as e:
    raise ValueError(f'{path} is not a whole safetensors file: {e}') from e


def save(path: str, params, dtype: str, about: dict):
  """Writes parameters by name, in `dtype`, with `about` (str -> str) as metadata.

  A CRC-32 of each is there, too, as restoring does not see a flipped bit. about:
  'modules', of modules_of, spares who loads it a look at the modules.
  """
  flat = {name: np.asarray(jnp.asarray(value, DTYPES[dtype]))
          for name, value in rules.by_name(params).items()}
  sums = {name: zlib.crc32(value.tobytes()) for name, value in flat.items()}
  storage.save_file(flat, path, metadata=about | {'crc32': json.dumps(sums)})


def load(path: str, shapes, part: str = '', optional: str = ''):
  """Reads float32 parameters of the given tree of shapes.

  shapes: None for whatever the file has: it was written for these very modules.
  part: 'a/b' of the names in the file, where the tree is only what lies below it.
  optional: a regex of names in the tree that the file may lack; None stands for them.
  Raises ValueError for a file that is cut short or is not the weights of this model.
  """
  try:
    flat = storage.load_file(path)
    with safetensors.safe_open(path, 'np') as file:
      sums = json.loads((file.metadata() or {}).get('crc32', '{}'))
  except (safetensors.SafetensorError, OSError) as e:
    raise ValueError(f'{path} is not a whole safetensors file: {e}') from e
  for name, expected in sums.items():
    if name not in flat or zlib.crc32(flat[name].tobytes()) != expected:
      raise ValueError(f'{path} is damaged: the bits of {name!r} are not those '
                       'written.')
  below = f'{part}/' if part else ''
  flat = {name.removeprefix(below): value for name, value in flat.items()
          if name.startswith(below)}
  if shapes is None:
    return traverse_util.unflatten_dict(
        {name: value.astype(np.float32) for name, value in flat.items()}, sep='/')
  wanted = rules.by_name(shapes)
  for name in sorted(flat.keys() ^ wanted.keys()):
    if name in wanted and re.fullmatch(optional, name):
      continue
    where = 'the file' if name in wanted else 'the model'
    raise ValueError(f'{path} does not fit the config: {where} has no {name!r}.')
  for name, value in flat.items():
    if value.shape != wanted[name].shape:
      raise ValueError(f'{path} does not fit the config: {name!r} is {value.shape}, '
                       f'the model has {wanted[name].shape}.')
  return jax.tree.map(lambda name: flat[name].astype(np.float32) if name in flat
                      else None, rules.names(shapes))


def part_of(params, part: str):
  """What lies below 'a/b' in a tree of parameters. Raises ValueError if it is none."""
  for name in part.split('/'):
    known = sorted(params) if isinstance(params, dict) else ()
    if name not in known:
      raise ValueError(f'config.init_from has the part {part!r}; there is no {name!r}, '
                       f'only {known or "nothing"}.')
    params = params[name]
  if not isinstance(params, dict):
    raise ValueError(f'config.init_from has the part {part!r}, a single parameter; '
                     'give what it is in.')
  return params
