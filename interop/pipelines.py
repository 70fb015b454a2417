"""Public pipelines, folders as diffusers saves them, as parts of a config.

A folder has model_index.json and, for each part, a folder with its config.json and its
safetensors. What those files say becomes the fields of our modules; what says that a
part computes something else than ours is refused by name.
"""
import os

from interop import schedulers, text_encoders
from interop.part import Part


def read(folder: str) -> dict:
  """Parts of a config: {'model': {...}, 'init_from': ((part, folder), ...), ...}.

  Raises ValueError or OSError for no such pipeline, or one that we have no equal of, by
  file and field.
  """
  if not os.path.isfile(os.path.join(folder, 'model_index.json')):
    raise ValueError(f'{folder} has no model_index.json; a folder as diffusers saves '
                     'pipelines has one.')
  return Part(folder, 'model_index.json').one_of('_class_name', PIPELINES)(folder)


def autoencoder(folder: str) -> dict:
  part = Part(folder, 'vae', 'config.json')
  part.only(_class_name='AutoencoderKL', act_fn='silu', mid_block_add_attention=True,
            in_channels=3, out_channels=3, use_post_quant_conv=part.get(
                'use_quant_conv', True))
  return dict(name='kl', width=part.get('block_out_channels')[0],
              channel_mult=part.channel_mult()) | part.read(
      num_res_blocks=('layers_per_block', 1), groups=('norm_num_groups', 32),
      channels=('latent_channels', 4), scale=('scaling_factor', 0.18215),
      shift=('shift_factor', 0.0), quant=('use_quant_conv', True))


def unet(folder: str, latents: dict) -> tuple[dict, int]:
  """(fields of our U-Net, latents a side)."""
  part = Part(folder, 'unet', 'config.json')
  down = part.get('down_block_types')
  part.only(_class_name='UNet2DConditionModel', in_channels=latents['channels'],
            out_channels=latents['channels'], act_fn='silu', downsample_padding=1,
            flip_sin_to_cos=True, freq_shift=0, center_input_sample=False,
            mid_block_type='UNetMidBlock2DCrossAttn', dual_cross_attention=False,
            only_cross_attention=False, resnet_time_scale_shift='default',
            class_embed_type=None, num_class_embeds=None, time_embedding_type=
            'positional', conv_in_kernel=3, conv_out_kernel=3, mid_block_scale_factor=1,
            attention_type='default', addition_time_embed_dim=256,
            up_block_types=[name.replace('Down', 'Up') for name in down[::-1]])
  n, widths = len(down), part.get('block_out_channels')
  kinds = {'CrossAttnDownBlock2D': 1, 'DownBlock2D': 0}
  if odd := sorted(set(down) - set(kinds)):
    raise ValueError(f'{part.path} has down_block_types {odd}, not of {sorted(kinds)}.')
  depths = part.each('transformer_layers_per_block', n, 1)
  blocks = set(part.each('layers_per_block', n))
  if len(blocks) > 1:
    part.refuse('layers_per_block', sorted(blocks), 'all levels have as many')
  extra = part.one_of('addition_embed_type', {'none': {}, 'text_time': {
      'pooled_into': 'mlp', 'size_features': 256}}, 'none')
  fields = dict(
      name='unet', width=widths[0], channel_mult=part.channel_mult(),
      num_res_blocks=blocks.pop(),
      attention=tuple(depth * kinds[name] for depth, name in zip(depths, down)),
      mid_attention=depths[-1], attention_type='spatial',
      groups=part.get('norm_num_groups', 32), eps=part.get('norm_eps', 1e-5),
      time_unit='index', pad=(1, 1), scale_shift=False, **heads(part, widths), **extra)
  return fields, part.get('sample_size')


def heads(part, widths) -> dict:
  """How attention is split; `attention_head_dim` of these files counts heads."""
  count = part.get('num_attention_heads', part.get('attention_head_dim', 8))
  if not isinstance(count, list):
    return {'heads': count}
  each = {w / n for w, n in zip(widths, count)}
  if len(each) > 1:
    part.refuse('attention_head_dim', count, 'the heads of all levels are equally wide')
  return {'head_width': int(each.pop())}


def stable_diffusion(folder: str) -> dict:
  """Stable Diffusion 1 and 2."""
  vae = autoencoder(folder)
  model, side = unet(folder, vae)
  text = text_encoders.clip(folder, 'text_encoder')
  condition = text.read(
      vocab='vocab_size', width='hidden_size', depth='num_hidden_layers',
      heads='num_attention_heads') | dict(
      name='clip', pad=text_encoders.pad_of(folder, 'tokenizer'),
      act=text.one_of('hidden_act', {act: act for act in ('quick_gelu', 'gelu')}))
  return assemble(folder, vae, model, condition, side, 'unet', {
      'text_encoder': 'text_encoder'}, {'tokenizer': 77}, steps=50, guidance=7.5)


def stable_diffusion_xl(folder: str) -> dict:
  """Stable Diffusion XL's base."""
  vae, index = autoencoder(folder), Part(folder, 'model_index.json')
  model, side = unet(folder, vae)
  condition = text_encoders.two_clips(folder) | dict(
      name='sdxl', zeros=index.get('force_zeros_for_empty_prompt', True))
  return assemble(folder, vae, model, condition, side, 'unet', {
      'text_encoder/clip_l': 'text_encoder', 'text_encoder/clip_g': 'text_encoder_2'},
      {'tokenizer': 77}, steps=50, guidance=5.0)


def stable_diffusion_3(folder: str) -> dict:
  """Stable Diffusion 3 and 3.5, with all three text encoders."""
  vae = autoencoder(folder)
  part = Part(folder, 'transformer', 'config.json')
  count = part.get('num_attention_heads')
  width, depth = count * part.get('attention_head_dim'), part.get('num_layers')
  t5 = text_encoders.t5(folder, 'text_encoder_3')
  text = text_encoders.two_clips(folder) | dict(name='sd3', clip_length=77) | {
      f't5_{key}': value for key, value in t5.items()}
  dual = part.get('dual_attention_layers', ())
  part.only(_class_name='SD3Transformer2DModel', in_channels=vae['channels'],
            out_channels=vae['channels'], caption_projection_dim=width,
            joint_attention_dim=text['t5_width'],
            pooled_projection_dim=sum(text['widths']),
            dual_attention_layers=list(range(len(dual))))
  patch, side, largest = (
      part.get(key) for key in ('patch_size', 'sample_size', 'pos_embed_max_size'))
  norms = {'none': False, 'rms_norm': True}
  model = dict(name='mmdit', width=width, depth=depth, heads=count, patch=patch,
               pos_embed_max_size=largest, pos_scale=side // patch / largest,
               dual=len(dual), qk_norm=part.one_of('qk_norm', norms, 'none'))
  return assemble(folder, vae, model, text, side, 'transformer', {
      'text_encoder/clip_l': 'text_encoder', 'text_encoder/clip_g': 'text_encoder_2',
      'text_encoder/t5': 'text_encoder_3'}, {'tokenizer': 77, 'tokenizer_3': 256},
      steps=28, guidance=7.0)


def pixart(folder: str) -> dict:
  """PixArt-alpha."""
  vae = autoencoder(folder)
  part = Part(folder, 'transformer', 'config.json')
  text = text_encoders.t5(folder, 'text_encoder') | dict(name='t5')
  part.only(in_channels=vae['channels'], norm_type='ada_norm_single',
            attention_bias=True, activation_fn='gelu-approximate',
            caption_channels=text['width'], norm_elementwise_affine=False)
  side, count = part.get('sample_size'), part.get('num_attention_heads')
  model = part.read(
      depth='num_layers', patch='patch_size', out_channels='out_channels',
      size_embedding=('use_additional_conditions', side == 128)) | dict(
      name='dit', width=count * part.get('attention_head_dim'), heads=count,
      adaln_single=True, cross_attention=True, time_unit='index',
      pos_scale=1 / part.get('interpolation_scale', max(side // 64, 1)))
  return assemble(folder, vae, model, text, side, 'transformer', {
      'text_encoder': 'text_encoder'}, {'tokenizer': 120}, steps=20, guidance=4.5)


def assemble(folder, vae, model, condition, side, backbone, encoders, files, **sample):
  """Parts of a config, and where the weights of each module are.

  sample: what the scheduler lacks of config.sample.
  """
  at = {'autoencoder': 'vae', 'backbone': backbone} | encoders
  return schedulers.noising(folder, **sample) | dict(
      autoencoder=vae, model=model, condition=condition,
      data=dict(size=side * 2 ** (len(vae['channel_mult']) - 1)),
      tokenizer=dict(length=sum(files.values()), files=tuple(
          (os.path.join(folder, name), length) for name, length in files.items())),
      init_from=tuple((part, os.path.join(folder, name)) for part, name in at.items()))


PIPELINES = {'StableDiffusionPipeline': stable_diffusion,
             'StableDiffusionXLPipeline': stable_diffusion_xl,
             'StableDiffusion3Pipeline': stable_diffusion_3,
             'PixArtAlphaPipeline': pixart}
