"""Names of parameters in foreign checkpoints, and what they are called here.

A family is a list of (regex, replacement), applied one after another to every foreign
name. Numbers of repeated blocks are written [i]: those blocks are stacked here.
"""
import re

from interop import feature_names

ENDS = (  # of every family, after its own
    (r'\.', '/'),
    (r'(norm[^/]*(?:/norm)?)/weight$', r'\1/scale'),
    (r'/weight$', '/kernel'),
)
BLOCKS = (  # of attention and MLPs
    (r'linear_1', 'up'), (r'linear_2', 'down'), (r'attn1', 'self'), (r'attn2', 'cross'),
    (r'\btransformer_blocks\.(\d+)', r'blocks[\1]'),
    (r'ff(_context)?\.net\.0\.proj', r'ff\1.up'),
    (r'ff(_context)?\.net\.2', r'ff\1.down'),
    (r'\.ff_context\.', '.text_mlp.'), (r'\.ff\.', '.mlp.'),
    (r'\.to_(q|k|v)\b', r'.\1'), (r'\.to_out\.0', '.out'),
    (r'\.norm_(q|k)\.', r'.\1_norm.'),
)
LEVELS = (  # of what has levels of residual blocks
    (r'\bconv_(in|out)\b', r'\1'),
    (r'\b(up|down)_blocks\.(\d+)\.resnets\.(\d+)', r'\1_\2_\3'),
    (r'\b(up|down)_blocks\.(\d+)\.attentions\.(\d+)', r'\1_\2_\3_attention'),
    (r'\bmid_block\.resnets\.', 'middle_'),
    (r'\bmid_block\.attentions\.0', 'middle_0_attention'),
    (r'\b(up|down)_blocks\.(\d+)\.(?:up|down)samplers\.0\.conv', r'\1_\2'),
    (r'\.(?:group_)?norm\.', '.norm.norm.'), (r'\bconv_norm_out', 'norm_out.norm'),
    (r'\.norm(\d)\.', r'.norm_\1.norm.'),
    (r'\.conv(\d)\.', r'.conv_\1.'), (r'conv_shortcut', 'skip'),
    (r'(attention)\.to_', r'\1.self.to_'),
)
UNET = LEVELS + (  # diffusers' UNet2DModel and UNet2DConditionModel
    (r'^time_embedding\.cond_proj', 'guidance'),
    (r'^time_embedding', 'time'), (r'^add_embedding', 'pooled'),
    (r'time_emb_proj', 'modulation.out'), (r'\.proj_(in|out)\.', r'.\1.'),
) + BLOCKS
CONTROLNET = (  # diffusers' ControlNetModel
    (r'^controlnet_cond_embedding\.(conv_(in|out)|blocks\.\d+)',
     lambda m: 'hint_' + re.sub(r'conv_|blocks\.', '', m[1])),
    (r'^controlnet_down_blocks\.(\d+)', r'zero_\1'),
    (r'^controlnet_mid_block', 'zero_middle'),
) + UNET
KL = (  # diffusers' AutoencoderKL, and as its files named attention at first
    (r'\.(query|key|value)\.', lambda m: f'.to_{m[1][0]}.'), (r'proj_attn', 'to_out.0'),
    (r'^quant_conv', 'encoder.quant'), (r'^post_quant_conv', 'decoder.quant'),
) + LEVELS + BLOCKS
TINY = (  # diffusers' AutoencoderTiny
    (r'\.layers\.(\d+)\.conv\.', r'.layer_\1_conv_'), (r'\.layers\.', '.layer_'))
CLIP = feature_names.OPEN_CLIP_TEXT + (
    # transformers' CLIPTextModel, with a projection or without; or open_clip's
    (r'^text_model\.', ''),
    (r'^embeddings\.token_embedding\.weight', 'embed.embedding'),
    (r'^embeddings\.position_embedding\.weight', 'positions'),
    (r'^encoder\.layers\.(\d+)', r'blocks[\1]'),
    (r'self_attn\.(q|k|v|out)_proj', r'attention.\1'),
    (r'layer_norm(\d)', r'norm_\1.norm'), (r'^final_layer_norm', 'norm.norm'),
    (r'mlp\.fc1', 'mlp.up'), (r'mlp\.fc2', 'mlp.down'),
    (r'^text_projection', 'projection'),
)
T5 = (  # transformers' T5EncoderModel, version 1.1
    (r'^(?:shared|encoder\.embed_tokens)\.weight', 'embed.embedding'),
    (r'^encoder\.block\.0\..*\.relative_attention_bias\.weight',
     'distances.embedding'),
    (r'^encoder\.block\.(\d+)', r'blocks[\1]'),
    (r'^encoder\.final_layer_norm', 'norm'),
    (r'layer\.0\.layer_norm', 'norm_1'), (r'layer\.1\.layer_norm', 'norm_2'),
    (r'layer\.0\.SelfAttention\.(q|k|v)', r'attention.\1'),
    (r'layer\.0\.SelfAttention\.o', 'attention.out'),
    (r'layer\.1\.DenseReluDense\.wi_0', 'mlp.gate'),
    (r'layer\.1\.DenseReluDense\.wi_1', 'mlp.up'),
    (r'layer\.1\.DenseReluDense\.wo', 'mlp.down'),
)
TRANSFORMER = ((r'^pos_embed\.proj', 'in'), (r'^proj_out', 'out')) + BLOCKS
PIXART = (  # diffusers' PixArtTransformer2DModel
    (r'^adaln_single\.emb\.timestep_embedder', 'time'),
    (r'^adaln_single\.emb\.resolution_embedder', 'size'),
    (r'^adaln_single\.emb\.aspect_ratio_embedder', 'ratio'),
    (r'^adaln_single\.linear', 'modulation.out'),
    (r'^caption_projection', 'text'), (r'scale_shift_table', 'table'),
) + TRANSFORMER
SD3 = (  # diffusers' SD3Transformer2DModel
    (r'^time_text_embed\.timestep_embedder', 'time'),
    (r'^time_text_embed\.text_embedder', 'pooled'),
    (r'^context_embedder', 'text'), (r'^norm_out\.linear', 'modulation.out'),
    (r'norm1_context\.linear', 'text_modulation.out'),
    (r'norm1\.linear', 'modulation.out'),
    (r'attn2', 'self'), (r'attn\.', 'attention.'),
    (r'add_(q|k|v)_proj', r'text_\1'), (r'to_add_out', 'text_out'),
    (r'norm_added_(q|k)', r'text_\1_norm'),
) + TRANSFORMER
FAMILIES = feature_names.FAMILIES | dict(
    clip=CLIP, controlnet=CONTROLNET, kl=KL, pixart=PIXART, sd3=SD3, t5=T5,
    tiny=TINY, unet=UNET)
SIGNS = {  # family -> a name that only its files have
    'clip': r'(text_model\.)?embeddings\.token_embedding\..*',
    'controlnet': r'controlnet_mid_block\..*',
    'kl': r'decoder\.conv_in\..*', 'pixart': r'adaln_single\..*',
    'sd3': r'context_embedder\..*', 't5': r'encoder\.block\.0\..*',
    'tiny': r'decoder\.layers\..*', 'unet': r'(down|up)_blocks\..*'}


def family_of(foreign) -> str | None:
  """The family whose names these are, if any."""
  return next((family for family, sign in SIGNS.items() for name in foreign
               if re.fullmatch(sign, name)), None)


def ours(family: str, foreign) -> dict[str, tuple[str, int | None]]:
  """{foreign name: (our name, which of the stacked blocks, None if not stacked)}."""
  found = {}
  for name in foreign:
    new = name
    for regex, replacement in FAMILIES[family] + ENDS:
      new = re.sub(regex, replacement, new)
    index = re.search(r'\[(\d+)\]', new)
    found[name] = re.sub(r'\[\d+\]', '', new), index and int(index[1])
  last = {'controlnet': levels, 'kl': levels, 'sd3': streams, 'unet': levels}
  return last[family](found) if family in last else found


def levels(names):
  """Levels counted from the picture, and single blocks unstacked."""
  top = max((int(name[1]) for new, _ in names.values()
             if (name := re.search(r'\bdown_(\d+)_', new))), default=0)
  many = {new for new, index in names.values() if index}
  def rename(new, index):
    if index == 0 and new not in many:
      new, index = new.replace('/blocks/', '/block/'), None
    new = re.sub(r'\bdown_(\d+)/', lambda m: f'down_{int(m[1]) + 1}/', new)
    return re.sub(r'\bup_(\d+)', lambda m: f'up_{top - int(m[1])}', new), index
  return {foreign: rename(*new) for foreign, new in names.items()}


def streams(names):
  """MMDiT's blocks by their kind: those with two attentions, the others, the last."""
  depth = 1 + max((index or 0 for _, index in names.values()), default=0)
  dual = len({index for new, index in names.values() if '/self/' in new})
  def rename(new, index):
    if index is None:
      return new, None
    if index == depth - 1:
      return new.replace('blocks/', 'last/', 1), None
    return ('dual_' + new, index) if index < dual else (new, index - dual)
  return {foreign: rename(*new) for foreign, new in names.items()}
