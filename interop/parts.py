"""Which parts of our models are modules of public pipelines, and what these call them.
"""
import re
from typing import Any, NamedTuple

from flax import traverse_util
import numpy as np

from interop import their_names


class Module(NamedTuple):
  """A module of a pipeline."""
  part: str    # of our parameters, 'a/b'
  folder: str  # of a pipeline, and what names of its layers begin with
  family: str  # of names.FAMILIES
  ours: Any    # our module, of which fields are read


CLIP, CLIP_L, CLIP_G, T5 = (
    ('', 'text_encoder', 'clip'), ('/clip_l', 'text_encoder', 'clip'),
    ('/clip_g', 'text_encoder_2', 'clip'), ('/t5', 'text_encoder_3', 't5'))
MODULES = {  # part -> name of ours in a config -> (what lies below, folder, family)
    'backbone': {'unet': [('', 'unet', 'unet')], 'dit': [('', 'transformer', 'pixart')],
                 'mmdit': [('', 'transformer', 'sd3')]},
    'text_encoder': {'clip': [CLIP], 't5': [('', 'text_encoder', 't5')],
                     'sdxl': [CLIP_L, CLIP_G], 'sd3': [CLIP_L, CLIP_G, T5]},
    'autoencoder': {'kl': [('', 'vae', 'kl')], 'tiny': [('', 'vae', 'tiny')]},
}
LDM = (  # diffusers' names in a U-Net -> those of CompVis's and Stability's code
    (r'resnets\.(\d+)\.norm1', r'resnets.\1.in_layers.0'),
    (r'resnets\.(\d+)\.conv1', r'resnets.\1.in_layers.2'),
    (r'resnets\.(\d+)\.time_emb_proj', r'resnets.\1.emb_layers.1'),
    (r'resnets\.(\d+)\.norm2', r'resnets.\1.out_layers.0'),
    (r'resnets\.(\d+)\.conv2', r'resnets.\1.out_layers.3'),
    (r'conv_shortcut', 'skip_connection'),
    (r'^time_embedding\.linear_1', 'time_embed.0'),
    (r'^time_embedding\.linear_2', 'time_embed.2'),
    (r'^add_embedding\.linear_1', 'label_emb.0.0'),
    (r'^add_embedding\.linear_2', 'label_emb.0.2'),
    (r'^conv_in', 'input_blocks.0.0'), (r'^conv_norm_out', 'out.0'),
    (r'^conv_out', 'out.2'),
    (r'^mid_block\.resnets\.0', 'middle_block.0'),
    (r'^mid_block\.attentions\.0', 'middle_block.1'),
    (r'^mid_block\.resnets\.1', 'middle_block.2'),
)


def modules_of(chosen: dict[str, tuple]) -> list[Module]:
  """The modules of a model. chosen: {part: (name in a config, our module)}."""
  return [Module(part + below, folder, family, ours)
          for part, (name, ours) in chosen.items()
          for below, folder, family in MODULES.get(part, {}).get(name, ())
          if below != '/t5' or ours.t5_depth]


def below(params, part: str):
  """What lies below 'a/b' in a tree of parameters."""
  for name in part.split('/'):
    params = params[name]
  return params


def names_of(module: Module, params) -> dict[tuple[str, int | None], str]:
  """{(our full name, which of the stacked blocks or None): name in its files}.

  Raises ValueError for a parameter that its files have no name for.
  """
  flat = traverse_util.flatten_dict(below(params, module.part), sep='/')
  found = their_names.theirs(module.family, flat)
  return {(f'{module.part}/{name}', i): foreign
          for (name, i), foreign in found.items()}


def layers_of(modules, params):
  """(module, our layer, which of its blocks, name in its files with .weight, the same
  in the original layout of a U-Net or None) of each kernel of public modules."""
  for module in modules:
    try:
      names = names_of(module, params)
    except ValueError:  # it has a parameter that no public one has
      continue
    ldm = ldm_names(names.values()) if module.folder == 'unet' else {}
    for (name, block), foreign in names.items():
      if name.endswith('/kernel'):
        yield (module, name.removesuffix('/kernel'), block, foreign, ldm.get(foreign))


def places_of(module: Module, foreign: str, kernel) -> tuple[int, ...]:
  """(height, width) of a kernel, not stacked, where theirs is a convolution; else ().

  Here a convolution of one place or of patches is a product.
  """
  if kernel.ndim == 4:
    return kernel.shape[:2]
  one = r'conv_shortcut|(post_)?quant_conv' + r'|proj_(in|out)' * (
      module.family == 'unet' and module.ours.heads > 0)  # SD 1 has no head_width
  if re.search(rf'(^|\.)({one})\.weight', foreign):
    return 1, 1
  return (module.ours.patch,) * 2 if foreign == 'pos_embed.proj.weight' else ()


def to_theirs(array, outputs: int, places: tuple[int, ...]):
  """[... inputs, outputs] as [outputs, inputs, *places]. outputs: how many axes."""
  width = int(np.prod(array.shape[array.ndim - outputs:]))
  flat = array.reshape(*places, -1, width)
  return np.ascontiguousarray(np.moveaxis(flat, (-1, -2), (0, 1)))


def ldm_names(found) -> dict[str, str]:
  """{name of a U-Net's parameter: that of the original layout}, of all its names.

  There each residual block, with its attention, and each change of size has a number.
  """
  first = re.compile(r'down_blocks\.0\.resnets\.\d+\.conv1\.weight')
  each = 1 + len([name for name in found if first.fullmatch(name)])
  attends = {int(m[1]) for name in found
             if (m := re.match(r'up_blocks\.(\d+)\.attentions', name))}
  def block(m):
    side, i, kind, j = m[1], int(m[2]), m[3], int(m[4])
    number = i * each + j + (side == 'down')
    return f'{"in" if side == "down" else "out"}put_blocks.{number}.' + str(
        int(kind == 'attentions'))
  def down(m):
    return f'input_blocks.{(int(m[1]) + 1) * each}.0.op'
  def up(m):
    i = int(m[1])
    return f'output_blocks.{(i + 1) * each - 1}.{1 + (i in attends)}.conv'
  rules = LDM + (
      (r'^down_blocks\.(\d+)\.downsamplers\.0\.conv', down),
      (r'^up_blocks\.(\d+)\.upsamplers\.0\.conv', up),
      (r'^(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)', block))
  def rename(name):
    for regex, replacement in rules:
      name = re.sub(regex, replacement, name)
    return name
  return {name: rename(name) for name in found}
