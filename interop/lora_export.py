"""Adapters as LoRA files of PEFT and diffusers, of kohya and ComfyUI, or of ours."""
from flax import traverse_util
import numpy as np
from safetensors import numpy as storage

from interop import parts
from interop.lora import OURS
from models.kernels import axes_of

ENDS = {  # layout -> how the names of an adapter's arrays end
    'peft': {'a': '.lora_A.weight', 'b': '.lora_B.weight',
             'gain': '.lora_magnitude_vector'},
    'kohya': {'a': '.lora_down.weight', 'b': '.lora_up.weight', 'gain': '.dora_scale'}}
LAYOUTS = ('ours', *ENDS)


def save(path: str, adapters, params, modules, layout: str):
  """Writes adapters, whose b has the scale in it, as float32.

  Args:
    params: the parameters that they are for, all of them.
    modules: of parts.modules_of of that model.
    layout: of LAYOUTS. 'ours' has our names; each of the others those of its public
      counterpart.

  Raises ValueError for layers that have no name in that layout.
  """
  flat = {name: np.asarray(value, np.float32)
          for name, value in traverse_util.flatten_dict(adapters, sep='/').items()}
  if layout == 'ours':
    return storage.save_file(flat, path, metadata={'layout': OURS})
  arrays = {}
  kernels = traverse_util.flatten_dict(params, sep='/')
  names = layer_names(params, modules, layout)
  for layer in sorted({name.rpartition('/')[0] for name in flat}):
    kernel = np.asarray(kernels[f'{layer}/kernel'], np.float32)
    stack = 'blocks/' in layer
    for block in range(kernel.shape[0]) if stack else [None]:
      if (layer, block) not in names:
        raise ValueError(f'the layer {layer!r} has no name in the layout {layout!r}; '
                         "--layout=ours takes any.")
      some = {role: flat[f'{layer}/{role}'] for role in ('a', 'b', 'gain')
              if f'{layer}/{role}' in flat}
      some = {role: x if block is None else x[block] for role, x in some.items()}
      arrays |= of_layer(layer, some, kernel if block is None else kernel[block],
                         *names[layer, block], layout)
  storage.save_file(arrays, path, metadata={'format': 'pt'})


def layer_names(params, modules, layout: str) -> dict:
  """{(our layer, which of its blocks): (its module, name in its files, in this
  layout)}."""
  found = {}
  two = any(module.folder == 'text_encoder_2' for module in modules)
  for module, layer, block, foreign, ldm in parts.layers_of(modules, params):
    name = f'{module.folder}.{foreign.removesuffix(".weight")}'
    if layout == 'kohya':
      if module.folder == 'transformer':
        continue  # whose queries, keys and values are one layer there
      # Of XL it names layers as the original code does, of the others as diffusers.
      unet, te = module.folder == 'unet', module.folder.removeprefix('text_encoder')
      spelled = ldm if unet and two else foreign
      prefix = 'lora_unet_' if unet else f'lora_te{te.lstrip("_") or "1" * two}_'
      name = prefix + spelled.removesuffix('.weight').replace('.', '_')
    found[layer, block] = module, foreign, name
  return found


def of_layer(layer: str, some: dict, kernel, module, foreign: str, name: str,
             layout: str) -> dict:
  """The arrays of one layer, by their names in a file."""
  _, middle, end = axes_of(f'{layer}/kernel'.replace('blocks/', ''), kernel)
  places = parts.places_of(module, foreign, kernel)
  ends, rank = ENDS[layout], some['a'].shape[-1]
  ones = (1,) * len(places)
  found = {name + ends['a']: parts.to_theirs(some['a'], 1, places),
           name + ends['b']: parts.to_theirs(some['b'], end - middle, ones)}
  if layout == 'kohya':
    found[f'{name}.alpha'] = np.array(rank, np.float32)
  if 'gain' in some:
    norm = np.sqrt(np.square(kernel).sum(tuple(range(middle))))
    magnitude = (some['gain'] * norm).reshape(-1)
    shape = {'peft': (1, -1, *ones) if places else (-1,), 'kohya': (-1, 1, *ones)}
    found[name + ends['gain']] = magnitude.reshape(shape[layout])
  return found
