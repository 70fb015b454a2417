"""Feature networks from files."""
from collections.abc import Callable
import functools
import hashlib
import math
import os
from typing import NamedTuple

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from data import tokenizers
from evaluation.features import networks, preprocessing as preprocessings
from models.conditions import clip
from training import param_files

WEIGHTS = os.path.join('weights', 'public')
LENGTH = 77  # tokens of a text of CLIP


class FeatureNetwork(NamedTuple):
  """A network with its weights.

  Attributes:
    name: of FEATURES.
    outputs: {output: its width, None where that follows from the pictures' size}.
    preprocess: uint8[b h w 3], numpy, to what `apply` takes, float32 or uint8[b s s 3];
      s is the network's, whatever h and w.
    apply: (params, what preprocess gives) -> {output: f32[b width]}; pure, for jit, and
      each picture of a batch by itself.
    params: float32, a tree.
    weights_hash: SHA-256 of names, shapes and float32 values of the parameters in the
      file, in hex: the same whatever kind of file they were in.
    preprocessing: its name, as 'pytorch_fid'.
  """
  name: str
  outputs: dict
  preprocess: Callable
  apply: Callable
  params: dict
  weights_hash: str
  preprocessing: str


class TextNetwork(NamedTuple):
  """The text encoder beside a CLIP.

  Attributes:
    name: of FEATURES.
    width: of an embedding, which is where the pictures' 'embedding' is.
    tokenize: captions -> (int32[b 77], int[b]: how many tokens had no room).
    apply: (params, int32[b 77]) -> f32[b width] of unit length; pure, for jit.
    params: float32, a tree.
    weights_hash: as FeatureNetwork's, of these parameters.
    scale: by which the file multiplies cosines, such as 100.
  """
  name: str
  width: int
  tokenize: Callable
  apply: Callable
  params: dict
  weights_hash: str
  scale: float


def load(name: str, path: str | None = None,
         preprocessing: str | None = None) -> FeatureNetwork:
  """Reads a network.

  Args:
    name: of FEATURES.
    path: a safetensors file or a folder with one; None for weights/public/NAME
      .safetensors or the folder weights/public/NAME.
    preprocessing: one of the row's; None for its first.

  Raises ValueError for a name, preprocessing or file that is none, FileNotFoundError
  where there is no file, with what to fetch and where to put it.
  """
  row = row_of(name)
  chosen = preprocessing or row.preprocessings[0]
  if chosen not in row.preprocessings:
    raise ValueError(f'the preprocessing {chosen!r} is not one of those of {name}, '
                     f'{list(row.preprocessings)}.')
  path = found(name, path)
  module = row.module if row.text is None else with_act(row.module, path)
  shape = (1, row.size or 64, row.size or 64, 3)
  shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))['params']
  params = (param_files.load(path, shapes) if row.shipped else
            read(path, row.file_shapes(shapes), row.family))

  def apply(params, x):
    if x.dtype == jnp.uint8:
      mean, std = row.normal
      x = (x.astype(jnp.float32) / 255 - mean) / std
    with jax.default_matmul_precision('float32'):
      return module.apply({'params': params}, x)
  preprocess = functools.partial(preprocessings.PREPROCESSINGS[chosen], size=row.size)
  return FeatureNetwork(name, row.outputs, preprocess, apply, row.fold(params),
                        content_hash(params), chosen)


def clip_text(name: str, path: str | None = None) -> TextNetwork:
  """Reads the text encoder of a CLIP, and its tokenizer from the same folder.

  name, path: as of `load`, as is what is raised; a row without a text encoder is a
  ValueError.
  """
  row = row_of(name)
  if row.text is None:
    raise ValueError(f'{name} has no text encoder; these have one: '
                     f'{[n for n, r in networks.FEATURES.items() if r.text]}.')
  path = found(name, path)
  folder = path if os.path.isdir(path) else os.path.dirname(path) or '.'
  tokenizer = tokenizers.public([(folder, LENGTH)])
  module = with_act(clip.CLIP(**row.text), path, 'text_config')
  shapes = jax.eval_shape(module.init, jax.random.key(0),
                          jnp.zeros((1, LENGTH), jnp.int32))['params']
  params = read(path, shapes, 'clip')

  def apply(params, tokens):
    with jax.default_matmul_precision('float32'):
      x = module.apply({'params': params}, tokens).pooled
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

  def tokenize(captions):
    rows, cut = zip(*(tokenizer.ids(caption) for caption in captions))
    return np.stack(rows), np.array(cut)
  return TextNetwork(name, module.width, tokenize, apply, params, content_hash(params),
                     math.exp(scalar(path, 'logit_scale')))


def row_of(name: str) -> networks.Row:
  if name not in networks.FEATURES:
    raise ValueError(f'{name!r} is not one of the feature networks '
                     f'{sorted(networks.FEATURES)}.')
  return networks.FEATURES[name]


def found(name: str, path: str | None) -> str:
  """Where the weights are; raises FileNotFoundError that says how to get them."""
  file, shipped = os.path.join(WEIGHTS, f'{name}.safetensors'), row_of(name).shipped
  places = [path or shipped] if path or shipped else [file, os.path.join(WEIGHTS, name)]
  for place in places:
    if os.path.exists(place):
      return place
  raise FileNotFoundError(f'{" or ".join(places)} is missing: {how_to_get(name)}')


def how_to_get(name: str) -> str:
  """What to fetch, and what to do with it, in a sentence."""
  row, steps = networks.FEATURES[name], []
  if row.shipped:
    return 'it is a file of this repository.'
  for file in row.files:
    known = f', SHA-256 {file.sha256}' if len(file.sha256) == 64 else (
        f', whose SHA-256 begins with {file.sha256}' * bool(file.sha256))
    size = f'{file.megabytes:g} MB' if file.megabytes else 'of unknown size'
    steps.append(f'fetch {file.address} ({size}{known})')
  place = os.path.join(WEIGHTS, f'{name}.safetensors')
  if row.text:
    place = os.path.join(WEIGHTS, name, 'model.safetensors')
    steps.append('and config.json, vocab.json and merges.txt beside it')
  if row.files[0].address.endswith('.safetensors'):
    return f'{", ".join(steps)}, and put it at {place}.'
  return (f'{", ".join(steps)}, and turn it into that with python -m interop.convert '
          f'FILE --out={place}{" --part=" * bool(row.files[0].part)}'
          f'{row.files[0].part}.')


def with_act(module, path: str, part: str = 'vision_config'):
  """The module with the activation that the config.json beside a file says, if any.

  Raises ValueError for a config of another size.
  """
  folder = path if os.path.isdir(path) else os.path.dirname(path)
  if not os.path.exists(os.path.join(folder, 'config.json')):
    return module
  from interop import part as parts
  config = parts.Part(folder, 'config.json')
  config.fields = config.get(part, config.fields)
  config.only(hidden_size=module.width, num_hidden_layers=module.depth,
              num_attention_heads=module.heads, intermediate_size=4 * module.width)
  act = config.one_of('hidden_act', {act: act for act in clip.ACTS}, module.act)
  return module.clone(act=act)


def read(path: str, shapes, family: str):
  """Parameters of a file, float32, on the host."""
  from interop import weights  # an edge: all else does without it
  return weights.load(path, shapes, family=family)


def scalar(path: str, name: str) -> float:
  """A single number of a file, by its name there."""
  from interop import tensors
  files = tensors.opened(path)
  if name not in files:
    raise ValueError(f'{path} lacks {name}.')
  return float(files[name].read())


def content_hash(params) -> str:
  """SHA-256, in hex, of names, shapes and float32 values of a tree, by name."""
  total = hashlib.sha256()
  for name, value in sorted(traverse_util.flatten_dict(params, sep='/').items()):
    total.update(f'{name} {value.shape}\n'.encode())
    total.update(np.ascontiguousarray(value, '<f4'))
  return total.hexdigest()
