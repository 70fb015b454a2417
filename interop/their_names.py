"""What foreign checkpoints call our parameters: names.py the other way.

A family is again a list of (regex, replacement), applied one after another to our
names. What comes out is held to FORMS, what the family's names look like, and to
names.py: it must lead back. So nothing is written under a name that nobody reads, or
that means another.
"""
import re

from interop import names

STARTS = (  # of every family, before its own
    (r'/', '.'), (r'\.(kernel|scale)$', '.weight'),
    (r'^(.*)\.block\.', r'\1.blocks[0].'),
)
BLOCKS = (
    (r'\bblocks\[(\d+)\]', r'transformer_blocks.\1'),
    (r'\.mlp\.up', '.ff.net.0.proj'), (r'\.mlp\.down', '.ff.net.2'),
    (r'\.text_mlp\.up', '.ff_context.net.0.proj'),
    (r'\.text_mlp\.down', '.ff_context.net.2'),
    (r'\.self\.', '.attn1.'), (r'\.cross\.', '.attn2.'),
    (r'(attn\d?)\.(q|k|v)\.', r'\1.to_\2.'), (r'(attn\d?)\.out\.', r'\1.to_out.0.'),
    (r'\.(q|k)_norm\.', r'.norm_\1.'),
    (r'\.up\.', '.linear_1.'), (r'\.down\.', '.linear_2.'),
)
LEVELS = (
    (r'^((?:en|de)coder\.)?(in|out)\.', r'\1conv_\2.'),
    (r'\bnorm_out\.norm', 'conv_norm_out'),
    (r'\b(up|down)_(\d+)_(\d+)_attention', r'\1_blocks.\2.attentions.\3'),
    (r'\b(up|down)_(\d+)_(\d+)', r'\1_blocks.\2.resnets.\3'),
    (r'\b(up|down)_(\d+)', r'\1_blocks.\2.\1samplers.0.conv'),
    (r'\bmiddle_0_attention', 'mid_block.attentions.0'),
    (r'\bmiddle_', 'mid_block.resnets.'),
    (r'\.norm_(\d)\.norm\.', r'.norm\1.'), (r'\.conv_(\d)\.', r'.conv\1.'),
    (r'\.skip\.', '.conv_shortcut.'),
    (r'(attentions\.\d+)\.self\.(q|k|v)', r'\1.to_\2'),
    (r'(attentions\.\d+)\.self\.out', r'\1.to_out.0'),
)
UNET = LEVELS + (
    (r'^time\.', 'time_embedding.'), (r'^pooled\.', 'add_embedding.'),
    (r'^guidance\.', 'time_embedding.cond_proj.'),
    (r'modulation\.out', 'time_emb_proj'),
    (r'(attentions\.\d+)\.(in|out)\.', r'\1.proj_\2.'),
    (r'(attentions\.\d+)\.norm\.norm\.', r'\1.norm.'),
) + BLOCKS
KL = (
    (r'^encoder\.quant', 'quant_conv'), (r'^decoder\.quant', 'post_quant_conv'),
) + LEVELS + ((r'(attentions\.\d+)\.norm\.norm\.', r'\1.group_norm.'),)
TINY = (
    (r'\.layer_(\d+)_conv_', r'.layers.\1.conv.'), (r'\.layer_', '.layers.'))
CLIP = (
    (r'^projection', 'text_projection'),
    (r'^(?!text_projection)', 'text_model.'),
    (r'embed\.embedding$', 'embeddings.token_embedding.weight'),
    (r'\bpositions$', 'embeddings.position_embedding.weight'),
    (r'blocks\[(\d+)\]', r'encoder.layers.\1'),
    (r'attention\.(q|k|v|out)', r'self_attn.\1_proj'),
    (r'norm_(\d)\.norm', r'layer_norm\1'), (r'\bnorm\.norm', 'final_layer_norm'),
    (r'mlp\.up', 'mlp.fc1'), (r'mlp\.down', 'mlp.fc2'),
)
T5 = (
    (r'^embed\.embedding$', 'shared.weight'),
    (r'^distances\.embedding$', 'encoder.block.0.layer.0.SelfAttention.'
     'relative_attention_bias.weight'),
    (r'^norm\.', 'encoder.final_layer_norm.'),
    (r'^blocks\[(\d+)\]', r'encoder.block.\1'),
    (r'\.norm_1\.', '.layer.0.layer_norm.'), (r'\.norm_2\.', '.layer.1.layer_norm.'),
    (r'attention\.out', 'layer.0.SelfAttention.o'),
    (r'attention\.(q|k|v)', r'layer.0.SelfAttention.\1'),
    (r'mlp\.gate', 'layer.1.DenseReluDense.wi_0'),
    (r'mlp\.up', 'layer.1.DenseReluDense.wi_1'),
    (r'mlp\.down', 'layer.1.DenseReluDense.wo'),
)
TRANSFORMER = ((r'^in\.', 'pos_embed.proj.'), (r'^out\.', 'proj_out.')) + BLOCKS
PIXART = (
    (r'^time\.', 'adaln_single.emb.timestep_embedder.'),
    (r'^size\.', 'adaln_single.emb.resolution_embedder.'),
    (r'^ratio\.', 'adaln_single.emb.aspect_ratio_embedder.'),
    (r'^modulation\.out', 'adaln_single.linear'),
    (r'^text\.', 'caption_projection.'), (r'\btable$', 'scale_shift_table'),
) + TRANSFORMER
SD3 = (
    (r'^time\.', 'time_text_embed.timestep_embedder.'),
    (r'^pooled\.', 'time_text_embed.text_embedder.'),
    (r'^text\.', 'context_embedder.'), (r'^modulation\.out', 'norm_out.linear'),
    (r'text_modulation\.out', 'norm1_context.linear'),
    (r'modulation\.out', 'norm1.linear'), (r'\.self\.', '.attn2.'),
    (r'\.attention\.text_(q|k|v)\.', r'.attn.add_\1_proj.'),
    (r'\.attention\.text_out\.', '.attn.to_add_out.'),
    (r'text_(q|k)_norm', r'norm_added_\1'), (r'\.attention\.', '.attn.'),
) + TRANSFORMER
FAMILIES = dict(clip=CLIP, kl=KL, pixart=PIXART, sd3=SD3, t5=T5, tiny=TINY, unet=UNET)

ATTEND = r'attn\d?\.(to_[qkv]|to_out\.0)'
FEED = r'ff\.net\.(0\.proj|2)'
RESNET = r'resnets\.\d+\.(norm\d|conv\d|conv_shortcut%s)'
SAMPLED = r'|(up|down)samplers\.0\.conv'
SPATIAL = (rf'attentions\.\d+\.(norm|proj_(in|out)|transformer_blocks\.\d+\.(norm\d|'
           rf'{ATTEND}|{FEED}))')
EMBEDDER = r'(%s)_embedder\.linear_\d'
FORMS = {  # family -> regex of its names, without .weight and .bias
    'unet': r'conv_(in|out|norm_out)|(time|add)_embedding\.linear_\d|'
            r'time_embedding\.cond_proj|'
            rf'((up|down)_blocks\.\d+|mid_block)\.({RESNET % "|time_emb_proj"}|'
            rf'{SPATIAL}{SAMPLED})',
    'tiny': r'(en|de)coder\.layers\.\d+(\.conv\.\d)?',
    'kl': r'(post_)?quant_conv|(en|de)coder\.(conv_(in|out|norm_out)|'
          rf'(up_blocks\.\d+|down_blocks\.\d+|mid_block)\.({RESNET % ""}|'
          rf'attentions\.0\.(group_norm|to_[qkv]|to_out\.0){SAMPLED}))',
    'clip': r'text_projection|text_model\.(embeddings\.(token|position)_embedding|'
            r'final_layer_norm|encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|'
            r'layer_norm\d|mlp\.fc\d))',
    't5': r'shared|encoder\.(final_layer_norm|block\.\d+\.layer\.\d\.(layer_norm|'
          r'SelfAttention\.([qkvo]|relative_attention_bias)|'
          r'DenseReluDense\.w(i_0|i_1|o)))',
    'pixart': r'(pos_embed\.proj|proj_out|caption_projection\.linear_\d|adaln_single\.('
              rf'linear|emb\.{EMBEDDER % "timestep|resolution|aspect_ratio"})|'
              rf'transformer_blocks\.\d+\.({ATTEND}|{FEED}))',
    'sd3': r'pos_embed\.proj|proj_out|context_embedder|norm_out\.linear|'
           rf'time_text_embed\.{EMBEDDER % "timestep|text"}|transformer_blocks\.\d+\.('
           rf'norm1(_context)?\.linear|{ATTEND}|attn\d?\.norm_(added_)?[qk]|'
           rf'attn\.(add_[qkv]_proj|to_add_out)|{FEED}|ff_context\.net\.(0\.proj|2))'}
TABLES = r'(transformer_blocks\.\d+\.)?scale_shift_table'  # PixArt's, without an end


def theirs(family: str, shapes: dict) -> dict[tuple[str, int | None], str]:
  """{(our name, which of the stacked blocks, None if not stacked): foreign name}.

  shapes: {our name: what has a shape}, all parameters of a part. Raises ValueError for
  a parameter that the family has no name for.
  """
  places = [(name, i) for name, leaf in shapes.items()
            for i in (range(leaf.shape[0]) if 'blocks/' in name else [None])]
  counted = {'kl': levels, 'sd3': streams, 'unet': levels}.get(
      family, lambda places: places)
  found = {}
  for place, (name, i) in zip(places, counted(places)):
    new = name if i is None else re.sub(r'blocks/', f'blocks[{i}]/', name, count=1)
    for regex, replacement in STARTS + FAMILIES[family]:
      new = re.sub(regex, replacement, new)
    found[place] = new
  back = names.ours(family, found.values())
  form = rf'({FORMS[family]})\.(weight|bias)|{TABLES}'
  for place, foreign in found.items():
    if back[foreign] != place or not re.fullmatch(form, foreign):
      raise ValueError(f'the parameter {place[0]!r} has no name in checkpoints of the '
                       f'family {family!r}: they have no such part.')
  return found


def levels(places):
  """Levels counted from the first one of each side, as names.levels takes them."""
  top = max((int(found[1]) for name, _ in places
             if (found := re.search(r'\bdown_(\d+)_', name))), default=0)
  def rename(name):
    name = re.sub(r'\bdown_(\d+)/', lambda m: f'down_{int(m[1]) - 1}/', name)
    return re.sub(r'\bup_(\d+)', lambda m: f'up_{top - int(m[1])}', name)
  return [(rename(name), i) for name, i in places]


def streams(places):
  """MMDiT's blocks in one row, as names.streams takes them."""
  dual = 1 + max((i for name, i in places if name.startswith('dual_')), default=-1)
  depth = dual + 1 + max((i for name, i in places if name.startswith('blocks/')),
                         default=-1)
  def rename(name, i):
    if name.startswith('dual_'):
      return name.removeprefix('dual_'), i
    if name.startswith('last/'):
      return name.replace('last/', 'blocks/', 1), depth
    return name, i if i is None else i + dual
  return [rename(*place) for place in places]
