"""LoRA files as adapters: PEFT's and diffusers', kohya's and ComfyUI's, and ours.

A file names layers and holds, for each, a down and an up matrix, their alpha where it
is not their rank, and with DoRA a magnitude. Adapters come with the scale, alpha /
rank, in b.
"""
import json
import math
import pathlib
import re

from flax import traverse_util
import numpy as np
import safetensors

from interop import parts
from models.kernels import axes_of

OURS = 'adapters by our names'  # in the metadata of such a file
ROLES = {  # regex of how a name ends -> what it is of an adapter
    r'(\.lora_A|\.lora_down|[._]lora\.down|\.lora_linear_layer\.down)(\.default)?'
    r'\.weight': 'a',
    r'(\.lora_B|\.lora_up|[._]lora\.up|\.lora_linear_layer\.up)(\.default)?\.weight':
    'b',
    r'\.alpha': 'alpha', r'\.dora_scale': 'dora_scale',
    r'\.lora_magnitude_vector(\.default)?(\.weight)?': 'magnitude'}
OLD = (  # spellings of layers -> those of today
    (r'^base_model\.model\.', ''), (r'\.processor\b', ''), (r'\.to_out$', '.to_out.0'),
    (r'self_attn\.to_(q|k|v|out)(\.0)?$', r'self_attn.\1_proj'))
KOHYA = {'unet': ('lora_unet',), 'transformer': ('lora_unet',),
         'text_encoder': ('lora_te', 'lora_te1'), 'text_encoder_2': ('lora_te2',),
         'text_encoder_3': ('lora_te3',)}
PLAIN = {'peft_type': 'LORA', 'fan_in_fan_out': False, 'use_qalora': False,
         'alora_invocation_tokens': None}  # fields of PEFT that would change more


def read(path: str, params, modules: list[parts.Module]):
  """Adapters of a file, or of a folder that PEFT or diffusers saved.

  Args:
    params: all parameters of the model that they are for.
    modules: of parts.modules_of that model.

  Raises ValueError, by name, for layers that the model does not have, shapes that do
  not fit, and anything that is not LoRA.
  """
  file, beside = opened(path)
  arrays, about = load(file)
  if about.get('layout') == OURS:
    return of_ours(file, arrays, params)
  spelled = spellings(params, modules)
  found, noted = {}, notes(file, beside, about)
  for key, array in arrays.items():
    layer, role = split(file, key)
    found.setdefault(layer, {})[role] = array
  if unknown := sorted(found.keys() - spelled.keys()):
    raise ValueError(f'{file} adapts layers that this model does not have, or that '
                     f'are not known by that name: {", ".join(unknown[:3])}'
                     + (f' and {len(unknown) - 3} more.' if unknown[3:] else '.'))
  kernels, made = traverse_util.flatten_dict(params, sep='/'), {}
  for layer, given in found.items():
    if missing := {'a', 'b'} - given.keys():
      raise ValueError(f'{file} lacks the {"down" if "a" in missing else "up"} matrix '
                       f'of {layer}.')
    name, block = spelled[layer]
    if (name, block) in made:
      raise ValueError(f'{file} adapts {name} twice, once as {layer}.')
    made[name, block] = of_layer(f'{file}: {layer}', given, kernels[f'{name}/kernel'],
                                 name, block, noted(layer, given))
  return stacked(file, made, kernels)


def opened(path: str):
  """(the safetensors file of a path, the config of PEFT beside it or None)."""
  path = pathlib.Path(path)
  if not path.is_dir():
    return path, None
  for name in ('adapter_model.safetensors', 'pytorch_lora_weights.safetensors'):
    if (path / name).exists():
      config = path / 'adapter_config.json'
      return path / name, config if config.exists() else None
  raise ValueError(f'{path} has no adapter_model.safetensors and no '
                   'pytorch_lora_weights.safetensors.')


def load(file):
  """({name: array}, metadata) of a safetensors file."""
  try:
    with safetensors.safe_open(file, 'np') as f:
      return {name: f.get_tensor(name) for name in f.keys()}, f.metadata() or {}
  except (safetensors.SafetensorError, OSError) as e:
    raise ValueError(f'{file} is not a whole safetensors file: {e}') from e


def split(file, key: str) -> tuple[str, str]:
  """(layer, role) of a name in a file."""
  for ending, role in ROLES.items():
    if found := re.fullmatch(f'(.+?)(?:{ending})', key):
      layer = found[1]
      for regex, replacement in OLD:
        layer = re.sub(regex, replacement, layer)
      return layer, role
  raise ValueError(f'{file} has {key!r}, which is not of LoRA or DoRA: of LoHa, LoKr '
                   'and other kinds, or of whole layers, nothing can be made here.')


def spellings(params, modules) -> dict[str, tuple[str, int | None]]:
  """{layer, as any of these files may write it: (our layer, which of its blocks)}."""
  found, bare = {}, {}
  for module, name, block, *theirs in parts.layers_of(modules, params):
    for layer in filter(None, theirs):
      layer = layer.removesuffix('.weight')
      bare.setdefault(layer, set()).add((name, block))
      starts = [f'{module.folder}.'] + ['diffusion_model.'] * (module.folder == 'unet')
      for start in starts:
        found[start + layer] = name, block
      for start in KOHYA.get(module.folder, ()):
        found[f'{start}_{layer.replace(".", "_")}'] = name, block
  return found | {layer: places.pop() for layer, places in bare.items()
                  if len(places) == 1}


def notes(file, beside, about: dict):
  """(layer, its arrays) -> what b is to be multiplied by, as a file says.

  An alpha beside a layer counts; then what PEFT's config, the file `beside`, or
  diffusers' metadata, of `about`, say; then alpha is the rank.
  """
  said = json.loads(about.get('lora_adapter_metadata', '{}'))
  if beside:
    said |= json.loads(beside.read_text(encoding='utf-8'))
  by_prefix = {}
  for key, value in said.items():
    prefix, _, field = key.rpartition('.')
    by_prefix.setdefault(prefix, {})[field] = value
  for fields in by_prefix.values():
    for field, plain in PLAIN.items():
      if fields.get(field, plain) not in (plain, None):
        raise ValueError(f'{beside or file} has {field} = {fields[field]!r}; here it '
                         f'is {plain!r}.')
  def scale(layer, given):
    rank = given['a'].shape[0]
    if 'alpha' in given:
      return float(given['alpha'].reshape(())) / rank
    prefix = max((prefix for prefix in by_prefix if layer.startswith(prefix)),
                 key=len, default=None)
    if prefix is None:
      return 1.0
    fields = by_prefix[prefix]
    alpha = fields.get('lora_alpha') or rank
    for pattern, value in (fields.get('alpha_pattern') or {}).items():
      if re.fullmatch(rf'(.*\.)?({pattern})', layer):
        alpha = value
    return alpha / (math.sqrt(rank) if fields.get('use_rslora') else rank)
  return scale


def of_layer(what: str, given, kernel, name: str, block, scale: float) -> dict:
  """{'a', 'b', 'gain'} of our layer, one of its blocks, of the arrays of a file."""
  first, middle, _ = axes_of(f'{name}/kernel', kernel)
  inputs, outputs = kernel.shape[first:middle], kernel.shape[middle:]
  rank = given['a'].shape[0]
  def shaped(role, shape):
    array = np.asarray(given[role], np.float32)
    if array.size != math.prod(shape):
      raise ValueError(f'{what} has {list(array.shape)} for {role}; the layer has '
                       f'{list(inputs)} inputs and {list(outputs)} outputs.')
    if role == 'magnitude':
      return array.reshape(shape)
    return np.moveaxis(array, (0, 1), (-1, -2)).reshape(shape)
  found = {'a': shaped('a', (*inputs, rank)),
           'b': np.float32(scale) * shaped('b', (rank, *outputs))}
  if 'dora_scale' in given:
    if given['dora_scale'].shape[0] != math.prod(outputs):
      raise ValueError(f'{what} has a dora_scale of {list(given["dora_scale"].shape)}, '
                       'one for each input; here it is one for each output.')
    given = given | {'magnitude': given['dora_scale']}
  if 'magnitude' in given:
    w = np.asarray(kernel if block is None else kernel[block], np.float32)
    norm = np.sqrt(np.square(w).sum(tuple(range(len(inputs)))))
    found['gain'] = shaped('magnitude', outputs) / norm
  return found


def stacked(file, made: dict, kernels: dict):
  """A tree of adapters of {(layer, which of its blocks): arrays}.

  Blocks without an adapter get one of zeros, and all the rank of the largest.
  """
  by_layer = {}
  for (name, block), arrays in made.items():
    by_layer.setdefault(name, {})[block] = arrays
  flat = {}
  for name, blocks in by_layer.items():
    rank = max(arrays['a'].shape[-1] for arrays in blocks.values())
    dora = any('gain' in arrays for arrays in blocks.values())
    if dora and not all('gain' in arrays for arrays in blocks.values()):
      raise ValueError(f'{file} has magnitudes for some blocks of {name}, not for all '
                       'that it adapts; here all or none of them have one.')
    some = next(iter(blocks.values()))
    outputs = some['b'].shape[1:]
    none = {'a': np.zeros((*some['a'].shape[:-1], rank), np.float32),
            'b': np.zeros((rank, *outputs), np.float32)}
    none |= {'gain': np.ones(outputs, np.float32)} if dora else {}
    def whole(arrays, none=none, rank=rank):
      more = rank - arrays['a'].shape[-1]
      a, b = arrays['a'], arrays['b']
      return none | arrays | {
          'a': np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, more)]),
          'b': np.pad(b, [(0, more)] + [(0, 0)] * (b.ndim - 1))}
    depth = None if None in blocks else kernels[f'{name}/kernel'].shape[0]
    each = [whole(blocks.get(i, none)) for i in ([None] if depth is None else
                                                  range(depth))]
    for role in none:
      arrays = [x[role] for x in each]
      flat[f'{name}/{role}'] = arrays[0] if depth is None else np.stack(arrays)
  return traverse_util.unflatten_dict(flat, sep='/')


def of_ours(file, arrays: dict, params):
  """Adapters of a file of ours, held to the layers that there are."""
  kernels = traverse_util.flatten_dict(params, sep='/')
  for name, array in arrays.items():
    layer, _, role = name.rpartition('/')
    kernel = kernels.get(f'{layer}/kernel')
    if kernel is None:
      raise ValueError(f'{file} adapts {layer!r}, which this model does not have.')
    first, middle, _ = axes_of(f'{layer}/kernel', kernel)
    rank = arrays[f'{layer}/a'].shape[-1]
    shape = {'a': (*kernel.shape[:middle], rank),
             'b': (*kernel.shape[:first], rank, *kernel.shape[middle:]),
             'gain': (*kernel.shape[:first], *kernel.shape[middle:])}[role]
    if array.shape != shape:
      raise ValueError(f'{file} has {name!r} of {list(array.shape)}; this model takes '
                       f'{list(shape)}.')
  return traverse_util.unflatten_dict(arrays, sep='/')
