"""A public pipeline's backbone as `model` of a config, with its latents a side."""
from interop.part import Part

DOWN = {'CrossAttnDownBlock2D': 1, 'DownBlock2D': 0}  # whether there is attention
SHOWN = {  # kinds of models.backbones.unet -> channels, of those of latents
    'nothing': lambda channels: 0, 'masked': lambda channels: channels + 1,
    'picture': lambda channels: channels}


def side_of(part):
  """sample_size: latents a side, or (height, width)."""
  side = part.get('sample_size', None)
  if isinstance(side, list) and len(side) == 2 and all(type(n) is int for n in side):
    return tuple(side)
  if type(side) is not int or side <= 0:
    part.refuse('sample_size', side, 'it is how many latents a side of a picture has, '
                'or [height, width]')
  return side


def unet(folder: str, latents: dict, shown: str = 'nothing'):
  """(fields of our U-Net, latents a side). shown: what it sees beside the noise."""
  part = Part(folder, 'unet', 'config.json')
  fields, side = unet_fields(part, latents['channels'], shown), side_of(part)
  part.only(_class_name='UNet2DConditionModel')
  part.done(*OF_SHAPES)
  return fields, side


def controlnet(folder: str, ours: dict, autoencoder) -> dict:
  """Fields that `model` of a config gets with a ControlNet.

  ours: that `model`, a U-Net; autoencoder: the module. Raises ValueError for a
  ControlNet of another one, by field.
  """
  part = Part(folder, 'config.json')
  part.must('_class_name', 'ControlNetModel', None)
  if ours['name'] != 'unet':
    raise ValueError(f'{folder} is a ControlNet of a U-Net; config.model.name is '
                     f'{ours["name"]!r}.')
  part.only(conditioning_channels=3, global_pool_conditions=False,
            controlnet_conditioning_channel_order='rgb')
  hint = part.get('conditioning_embedding_out_channels', [16, 32, 96, 256])
  if 2 ** (len(hint) - 1) != autoencoder.factor:
    part.refuse('conditioning_embedding_out_channels', hint, 'they halve a picture '
                f'down to {autoencoder.factor} pixels a latent')
  fields = unet_fields(part, autoencoder.channels, 'nothing')
  part.done(*OF_SHAPES)
  for key, value in fields.items():
    if key not in ('name', 'shown') and ours.get(key) != value:
      raise ValueError(f'{part.path} is for another U-Net: config.model.{key} is '
                       f'{ours.get(key)!r}, there it is {value!r}.')
  return dict(name='controlled_unet', hint_widths=tuple(hint))


OF_SHAPES = (  # of weights, which are looked at when they are read
    'cross_attention_dim', 'use_linear_projection', 'upcast_attention', 'dropout',
    'projection_class_embeddings_input_dim', 'addition_embed_type_num_heads')


def unet_fields(part, channels: int, shown: str) -> dict:
  """What the file of a U-Net or a ControlNet says of it. channels: of latents."""
  down = part.get('down_block_types', ['CrossAttnDownBlock2D'] * 3 + ['DownBlock2D'])
  if odd := sorted({str(name) for name in down} - set(DOWN)):
    raise ValueError(f'{part.path} has down_block_types {odd}, not of {sorted(DOWN)}.')
  part.only(act_fn='silu', out_channels=channels, downsample_padding=1,
            flip_sin_to_cos=True, freq_shift=0, center_input_sample=False,
            mid_block_type='UNetMidBlock2DCrossAttn', dual_cross_attention=False,
            only_cross_attention=False, mid_block_only_cross_attention=False,
            resnet_time_scale_shift='default', resnet_out_scale_factor=1.0,
            resnet_skip_time_act=False, class_embed_type=None, num_class_embeds=None,
            class_embeddings_concat=False, time_embedding_type='positional',
            time_embedding_dim=None, time_embedding_act_fn=None,
            timestep_post_act=None, encoder_hid_dim=None,
            encoder_hid_dim_type=None, conv_in_kernel=3, conv_out_kernel=3,
            mid_block_scale_factor=1, attention_type='default',
            cross_attention_norm=None, num_attention_heads=None,
            reverse_transformer_layers_per_block=None, addition_time_embed_dim=256,
            up_block_types=[name.replace('Down', 'Up') for name in down[::-1]])
  part.must('in_channels', channels + SHOWN[shown](channels), 4)
  n, widths = len(down), part.get('block_out_channels', [320, 640, 1280, 1280])
  if len(widths) != n:
    part.refuse('block_out_channels', widths, f'there are {n} levels')
  depths = part.each('transformer_layers_per_block', n, 1)
  blocks = set(part.each('layers_per_block', n, 2))
  if len(blocks) > 1:
    part.refuse('layers_per_block', sorted(blocks), 'all levels have as many')
  extra = part.one_of('addition_embed_type', {'none': {}, 'text_time': {
      'pooled_into': 'mlp', 'size_features': 256}}, 'none')
  if part.fields.get('time_cond_proj_dim') is not None:
    extra |= dict(scalars=('guidance',),
                  guidance_features=part.number('time_cond_proj_dim'))
  part.get('time_cond_proj_dim', None)
  return dict(
      name='unet', width=widths[0], channel_mult=part.channel_mult(widths),
      num_res_blocks=blocks.pop(),
      attention=tuple(depth * DOWN[name] for depth, name in zip(depths, down)),
      mid_attention=depths[-1], attention_type='spatial',
      groups=part.number('norm_num_groups', 32), eps=part.get('norm_eps', 1e-5),
      time_unit='index', pad=(1, 1), scale_shift=False, shown=shown,
      **heads(part, widths), **extra)


def heads(part, widths) -> dict:
  """How attention is split; `attention_head_dim` of these files counts heads."""
  if isinstance(part.fields.get('attention_head_dim', 8), int):
    return {'heads': part.number('attention_head_dim', 8)}
  count = part.each('attention_head_dim', len(widths))
  each = {w / n if n else 0 for w, n in zip(widths, count)}
  if len(each) > 1:
    part.refuse('attention_head_dim', list(count),
                'the heads of all levels are equally wide')
  return {'head_width': int(each.pop())}


def transformer(folder: str, latents: dict, **only) -> Part:
  part = Part(folder, 'transformer', 'config.json')
  part.only(in_channels=latents['channels'], **only)
  return part


def sd3(folder: str, latents: dict, pooled: int):
  """(fields of our MMDiT, latents a side, width of the text)."""
  part = transformer(folder, latents, out_channels=latents['channels'])
  count = part.number('num_attention_heads')
  width, depth = count * part.number('attention_head_dim'), part.number('num_layers')
  dual = part.get('dual_attention_layers', [])
  part.only(_class_name='SD3Transformer2DModel', caption_projection_dim=width,
            pooled_projection_dim=pooled, dual_attention_layers=[*range(len(dual))])
  patch, largest, side = (part.number('patch_size'), part.number('pos_embed_max_size'),
                          part.number('sample_size'))
  model = dict(name='mmdit', width=width, depth=depth, heads=count, patch=patch,
               pos_embed_max_size=largest, pos_scale=side // patch / largest,
               dual=len(dual), qk_norm=part.one_of(
                   'qk_norm', {'none': False, 'rms_norm': True}, 'none'))
  joint = part.number('joint_attention_dim')
  part.done()
  return model, side, joint


def pixart(folder: str, latents: dict, text: int, size_embedding: bool | None = None):
  """(fields of our DiT, latents a side).

  text: width of the text. size_embedding: whether it is told sizes; None: as
  PixArt-alpha, where the file does not say.
  """
  part = transformer(
      folder, latents, norm_type='ada_norm_single', attention_bias=True,
      activation_fn='gelu-approximate', caption_channels=text, norm_eps=1e-6,
      norm_elementwise_affine=False, attention_type='default',
      double_self_attention=False, only_cross_attention=False, num_vector_embeds=None)
  part.one_of('_class_name', {'PixArtTransformer2DModel': 1, 'Transformer2DModel': 1})
  side, count = part.number('sample_size'), part.number('num_attention_heads')
  width = count * part.number('attention_head_dim')
  told = part.get('use_additional_conditions', side == 128)
  if size_embedding is False and told:
    part.refuse('use_additional_conditions', told, 'it is False')
  part.only(cross_attention_dim=width)
  model = dict(
      name='dit', width=width, heads=count, depth=part.number('num_layers'),
      patch=part.number('patch_size'), out_channels=part.number('out_channels'),
      adaln_single=True, cross_attention=True, time_unit='index', size_embedding=told,
      pos_scale=1 / part.get('interpolation_scale', max(side // 64, 1)))
  part.done('num_embeds_ada_norm', 'norm_num_groups', 'dropout', 'upcast_attention',
            'use_linear_projection')
  return model, side
