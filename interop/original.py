"""Checkpoints of whole pipelines in one file, in the layout of the original code.

CompVis's and Stability's code keeps each part below a name of its own; the names below
it are here as functions of diffusers' names, so that a part is read as any other.
"""
import re
from typing import Any, NamedTuple

from flax import traverse_util
import numpy as np

from interop import parts, tensors, their_names

BACKBONE = 'model.diffusion_model.'
PREFIXES = {  # part of our parameters -> what its names may begin with
    'backbone': (BACKBONE,), 'autoencoder': ('first_stage_model.',),
    'text_encoder': ('cond_stage_model.transformer.', 'cond_stage_model.model.'),
    'text_encoder/clip_l': ('conditioner.embedders.0.transformer.',
                            'text_encoders.clip_l.transformer.'),
    'text_encoder/clip_g': ('conditioner.embedders.1.model.',
                            'text_encoders.clip_g.transformer.'),
    'text_encoder/t5': ('text_encoders.t5xxl.transformer.',)}
BESIDE = (  # names that draw nothing, in diffusers neither
    r'model_ema\..*|((sqrt|log|sqrt_recip|sqrt_recipm1)_)?(one_minus_)?alphas_cumprod'
    r'(_prev)?|betas|logvar|posterior_(variance|log_variance_clipped|mean_coef[12])|'
    r'denoiser\.sigmas|model_sampling\.sigmas|text_encoders\..*\.logit_scale')
V1, V2, XL, V3 = (  # a name that only these have, each
    r'cond_stage_model\.transformer\..*', r'cond_stage_model\.model\..*',
    r'conditioner\.embedders\.1\.model\..*', rf'{re.escape(BACKBONE)}joint_blocks\..*')
FIRST, PLACES = f'{BACKBONE}input_blocks.0.0.weight', f'{BACKBONE}pos_embed'
BASES = (  # a sign, (a name, the second number of its shape), and diffusers' pipeline
    (V1, (FIRST, 4), 'stable-diffusion-v1-5/stable-diffusion-v1-5'),
    (V2, (FIRST, 4), 'stabilityai/stable-diffusion-2-1'),
    (XL, (FIRST, 4), 'stabilityai/stable-diffusion-xl-base-1.0'),
    (V1, (FIRST, 9), 'stable-diffusion-v1-5/stable-diffusion-inpainting'),
    (V2, (FIRST, 9), 'stabilityai/stable-diffusion-2-inpainting'),
    (XL, (FIRST, 9), 'diffusers/stable-diffusion-xl-1.0-inpainting-0.1'),
    (V3.replace('.*', '37.*'), None, 'stabilityai/stable-diffusion-3.5-large'),
    (V3, (PLACES, 384**2), 'stabilityai/stable-diffusion-3.5-medium'),
    (V3, (PLACES, 192**2), 'stabilityai/stable-diffusion-3-medium-diffusers'))


def is_original(files) -> bool:
  """Whether these are names of a file of a whole pipeline."""
  return any(name.startswith(BACKBONE) for name in files)


def parts_in(path) -> dict[str, str]:
  """{part of our parameters: what its names begin with} of a file.

  Raises ValueError for a file in another layout, or one with more than is known.
  """
  files = tensors.opened(path)
  if not is_original(files):
    raise ValueError(f'{path} has no {BACKBONE}* as a checkpoint of a whole pipeline '
                     f'has; it has {min(files)!r}.')
  found = {part: prefix for part, prefixes in PREFIXES.items() for prefix in prefixes
           if any(name.startswith(prefix) for name in files)}
  known = (*found.values(),)
  if odd := sorted(name for name in files if not name.startswith(known)
                   and not re.fullmatch(BESIDE, name)):
    raise ValueError(f'{path} has {odd[0]!r}, which is of no part that is known; parts '
                     f'begin with {sorted(sum(PREFIXES.values(), ()))}.')
  return found


def base_of(path) -> str:
  """The pipeline that diffusers takes such a file for, by its name on the hub.

  Raises ValueError where that cannot be told.
  """
  files = tensors.opened(path)
  for sign, shaped, base in BASES:
    name, size = shaped or (None, None)
    fits = not shaped or name in files and files[name].shape[1] == size
    if fits and any(re.fullmatch(sign, name) for name in files):
      return base
  raise ValueError(f'{path} is of none of {", ".join(row[-1] for row in BASES)}, by '
                   'its names and shapes; --base gives the pipeline that it is of.')


def part_of(path, files, part: str, shapes) -> tuple[str, dict[str, Any]]:
  """(family of names.FAMILIES, arrays of one part by that family's names).

  files: {name: tensors.Tensor} of the file. shapes: of our parameters of that part.
  """
  prefix = next((prefix for prefix in PREFIXES.get(part, ())
                 if any(name.startswith(prefix) for name in files)), None)
  if prefix is None:
    raise ValueError(f'{path} has no {part or "part that is asked for"}; it has '
                     f'{sorted(parts_in(path))}.')
  found = {name.removeprefix(prefix): file for name, file in files.items()
           if name.startswith(prefix)}
  return ENCODERS.get(prefix, renamed)(found, shapes)


class Identity(NamedTuple):
  """A projection that changes nothing, which no file has."""
  shape: tuple[int, int]

  def read(self):
    return np.eye(self.shape[0], dtype=np.float32)


def renamed(files, shapes):
  """A backbone or an autoencoder by diffusers' names."""
  flat = traverse_util.flatten_dict(shapes, sep='/')
  family = ('sd3' if any(name.startswith('joint_blocks.') for name in files) else
            'kl' if 'decoder.conv_in.weight' in files else 'unet')
  names = their_names.theirs(family, flat).values()
  back = {there: name for name, there in LAYOUTS[family](names).items()}
  found = {back.get(name, name): file for name, file in files.items()}
  if family == 'sd3':
    last = max(int(name.split('.')[1]) for name in found
               if name.startswith('transformer_blocks.'))
    turned = rf'(norm_out|transformer_blocks\.{last}\.norm1_context)\.linear\..*'
    found = {name: tensors.Pieces(file, 2, (1, 0)) if re.fullmatch(turned, name)
             else file for name, file in found.items()}  # there the shift is first
  return family, found


def kl(names) -> dict[str, str]:
  """{diffusers' name: the original one} of an autoencoder, whose way up has its levels
  counted from the picture."""
  top = max(int(m[1]) for name in names if (m := re.search(r'up_blocks\.(\d+)', name)))
  def level(m):
    return f'{m[1]}.{int(m[2]) if m[1] == "down" else top - int(m[2])}'
  return by_rules(names, ((r'\b(down|up)_blocks\.(\d+)', level), *KL))


def sd3(names) -> dict[str, str]:
  """{diffusers' name: the original one} of Stable Diffusion 3's transformer."""
  return by_rules(names, SD3) | {'pos_embed.pos_embed': 'pos_embed'}


def by_rules(names, rules) -> dict[str, str]:
  def rename(name):
    for regex, replacement in rules:
      name = re.sub(regex, replacement, name)
    return name
  return {name: rename(name) for name in names}


KL = (
    (r'\bmid_block\.resnets\.0', 'mid.block_1'),
    (r'\bmid_block\.resnets\.1', 'mid.block_2'),
    (r'\bmid_block\.attentions\.0\.group_norm', 'mid.attn_1.norm'),
    (r'\bmid_block\.attentions\.0\.to_out\.0', 'mid.attn_1.proj_out'),
    (r'\bmid_block\.attentions\.0\.to_', 'mid.attn_1.'),
    (r'\bresnets\.(\d+)', r'block.\1'), (r'\b(up|down)samplers\.0', r'\1sample'),
    (r'\bconv_norm_out', 'norm_out'), (r'\bconv_shortcut', 'nin_shortcut'))
SD3 = (
    (r'^pos_embed\.proj', 'x_embedder.proj'), (r'^proj_out', 'final_layer.linear'),
    (r'^norm_out\.linear', 'final_layer.adaLN_modulation.1'),
    (r'^time_text_embed\.timestep_embedder', 't_embedder'),
    (r'^time_text_embed\.text_embedder', 'y_embedder'),
    (r'embedder\.linear_1', 'embedder.mlp.0'),
    (r'embedder\.linear_2', 'embedder.mlp.2'),
    (r'^transformer_blocks\.(\d+)\.(norm1_context|ff_context|attn\.(add_|to_add_|'
     r'norm_added_))', r'joint_blocks.\1.context_block.\2'),
    (r'^transformer_blocks\.(\d+)', r'joint_blocks.\1.x_block'),
    (r'norm1(_context)?\.linear', 'adaLN_modulation.1'),
    (r'ff(_context)?\.net\.0\.proj', 'mlp.fc1'), (r'ff(_context)?\.net\.2', 'mlp.fc2'),
    (r'norm_(added_)?(q|k)\.', r'ln_\2.'), (r'add_(q|k|v)_proj', r'\1'),
    (r'to_add_out|to_out\.0', 'proj'), (r'\.to_(q|k|v)\.', r'.\1.'))
LAYOUTS = {'unet': parts.ldm_names, 'kl': kl, 'sd3': sd3}


def clip(files, shapes):
  """A text encoder by the names that it has anywhere."""
  return 'clip', files


def t5(files, shapes):
  return 't5', files


def penultimate(files, shapes):
  """One whose last block is not used, in Stable Diffusion 2, nor was kept elsewhere."""
  depth = traverse_util.flatten_dict(shapes, sep='/')['blocks/norm_1/norm/scale']
  spare = f'transformer.resblocks.{depth.shape[0]}.'
  return 'clip', {name: file for name, file in files.items()
                  if not name.startswith(spare)}


def unprojected(files, shapes):
  """Stable Diffusion 3's first CLIP, whose summary is not projected."""
  width = shapes['projection']['kernel'].shape[0]
  return 'clip', files | {'text_projection.weight': Identity((width, width))}


ENCODERS = dict.fromkeys(sum((prefixes for part, prefixes in PREFIXES.items()
                              if part.startswith('text')), ()), clip) | {
    'cond_stage_model.model.': penultimate,
    'text_encoders.clip_l.transformer.': unprojected,
    'text_encoders.t5xxl.transformer.': t5}
