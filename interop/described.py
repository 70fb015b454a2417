"""Our modules as the JSON files of diffusers and transformers describe them.

backbones.py and pipelines.py the other way. What a file cannot say is not looked at
here: whoever writes a pipeline reads it again and compares (inference.pipeline_export).
"""
from models.conditions.sdxl import two_clips
from models.conditions.t5 import T5

VERSION = '0.30.0'  # of diffusers, from which on all of these are known


def kl(ours, side: int) -> dict:
  """Of AutoencoderKL. side: pixels of a picture."""
  n = len(ours.channel_mult)
  return dict(
      _class_name='AutoencoderKL', _diffusers_version=VERSION, act_fn='silu',
      block_out_channels=[ours.width * m for m in ours.channel_mult],
      down_block_types=['DownEncoderBlock2D'] * n,
      up_block_types=['UpDecoderBlock2D'] * n, in_channels=3, out_channels=3,
      latent_channels=ours.channels, layers_per_block=ours.num_res_blocks,
      norm_num_groups=ours.groups, sample_size=side, scaling_factor=ours.scale,
      shift_factor=ours.shift or None, use_quant_conv=ours.quant,
      use_post_quant_conv=ours.quant, latents_mean=list(ours.mean) or None,
      latents_std=list(ours.std) or None, mid_block_add_attention=True)


def tiny(ours, side: int) -> dict:
  """Of AutoencoderTiny, whose `scale` is that of the latents."""
  down, up = list(ours.encoder_blocks), list(ours.decoder_blocks)
  return dict(
      _class_name='AutoencoderTiny', _diffusers_version=VERSION, act_fn='relu',
      in_channels=3, out_channels=3, latent_channels=ours.channels,
      encoder_block_out_channels=[ours.width] * len(down), num_encoder_blocks=down,
      decoder_block_out_channels=[ours.width] * len(up), num_decoder_blocks=up,
      upsampling_scaling_factor=2, upsample_fn='nearest', scaling_factor=ours.scale,
      shift_factor=0.0)


def unet(ours, latents: int, text: int, pooled: int) -> dict:
  """Of UNet2DConditionModel. latents: a side. text, pooled: widths of the condition."""
  widths = [int(ours.width * m) for m in ours.channel_mult]
  depths = [depth or ours.mid_attention for depth in ours.attention]
  down = ['CrossAttnDownBlock2D' if depth else 'DownBlock2D'
          for depth in ours.attention]
  sizes = dict(addition_embed_type='text_time', addition_time_embed_dim=256,
               projection_class_embeddings_input_dim=pooled + 6 * 256)
  return dict(
      _class_name='UNet2DConditionModel', _diffusers_version=VERSION, act_fn='silu',
      sample_size=latents, in_channels=ours.channels + ours.beside,
      out_channels=ours.channels, block_out_channels=widths,
      down_block_types=down, up_block_types=[
          name.replace('Down', 'Up') for name in down[::-1]],
      mid_block_type='UNetMidBlock2DCrossAttn', layers_per_block=ours.num_res_blocks,
      transformer_layers_per_block=depths[0] if len(set(depths)) == 1 else depths,
      attention_head_dim=ours.heads or [w // ours.head_width for w in widths],
      cross_attention_dim=text, norm_num_groups=ours.groups, norm_eps=ours.eps,
      use_linear_projection=not ours.heads, downsample_padding=1, freq_shift=0,
      center_input_sample=False, flip_sin_to_cos=True,
      time_cond_proj_dim=ours.guidance_features or None,
      **(sizes if ours.size_features else {}))


def sd3(ours, latents: int, text: int, pooled: int) -> dict:
  """Of SD3Transformer2DModel."""
  return dict(
      _class_name='SD3Transformer2DModel', _diffusers_version=VERSION,
      sample_size=latents, patch_size=ours.patch, in_channels=ours.channels,
      out_channels=ours.channels, num_layers=ours.depth, num_attention_heads=ours.heads,
      attention_head_dim=ours.width // ours.heads, joint_attention_dim=text,
      caption_projection_dim=ours.width, pooled_projection_dim=pooled,
      pos_embed_max_size=ours.pos_embed_max_size,
      dual_attention_layers=list(range(ours.dual)),
      qk_norm='rms_norm' if ours.qk_norm else None)


def pixart(ours, latents: int, text: int, pooled: int) -> dict:
  """Of PixArtTransformer2DModel."""
  return dict(
      _class_name='PixArtTransformer2DModel', _diffusers_version=VERSION,
      sample_size=latents, patch_size=ours.patch, in_channels=ours.channels,
      out_channels=ours.out_channels or ours.channels, num_layers=ours.depth,
      num_attention_heads=ours.heads, attention_head_dim=ours.width // ours.heads,
      cross_attention_dim=ours.width, caption_channels=text, attention_bias=True,
      activation_fn='gelu-approximate', norm_type='ada_norm_single', norm_eps=1e-6,
      norm_elementwise_affine=False, num_embeds_ada_norm=1000, norm_num_groups=1,
      interpolation_scale=whole(1 / ours.pos_scale),
      use_additional_conditions=ours.size_embedding)


def whole(x: float):
  """A number, as an int where it is one to rounding."""
  return round(x) if abs(x - round(x)) < 1e-6 else x


def clip(ours, projection: bool) -> dict:
  """Of CLIPTextModel, or with a projection CLIPTextModelWithProjection."""
  end = ours.end or ours.vocab - 1
  return dict(
      architectures=['CLIPTextModel' + 'WithProjection' * projection],
      model_type='clip_text_model', vocab_size=ours.vocab, hidden_size=ours.width,
      intermediate_size=4 * ours.width, num_hidden_layers=ours.depth,
      num_attention_heads=ours.heads, hidden_act=ours.act, projection_dim=ours.width,
      max_position_embeddings=77, layer_norm_eps=1e-5, bos_token_id=end - 1,
      eos_token_id=end, pad_token_id=ours.pad, attention_dropout=0.0)


def t5(ours) -> dict:
  """Of T5EncoderModel."""
  return dict(
      architectures=['T5EncoderModel'], model_type='t5', vocab_size=ours.vocab,
      d_model=ours.width, d_kv=ours.head_width, d_ff=ours.hidden, num_layers=ours.depth,
      num_heads=ours.heads, feed_forward_proj='gated-gelu', dense_act_fn='gelu_new',
      is_gated_act=True, relative_attention_num_buckets=32, layer_norm_epsilon=1e-6,
      relative_attention_max_distance=128, dropout_rate=0.0, eos_token_id=1,
      pad_token_id=0, is_encoder_decoder=False, use_cache=False,
      tie_word_embeddings=True)


AUTOENCODERS = {'kl': kl, 'tiny': tiny}
CONTENTS = {  # (model, condition) -> the pipeline's class, and its backbone's folder
    ('unet', 'clip'): ('StableDiffusionPipeline', 'unet', unet),
    ('unet', 'sdxl'): ('StableDiffusionXLPipeline', 'unet', unet),
    ('mmdit', 'sd3'): ('StableDiffusion3Pipeline', 'transformer', sd3),
    ('dit', 't5'): ('PixArtAlphaPipeline', 'transformer', pixart)}
LENGTHS = {  # of a caption in tokens, by which another class is meant
    ('PixArtAlphaPipeline', 300): 'PixArtSigmaPipeline'}
SHOWN = {  # by what a U-Net sees beside the noise
    ('StableDiffusionPipeline', 'masked'): 'StableDiffusionInpaintPipeline',
    ('StableDiffusionPipeline', 'picture'): 'StableDiffusionInstructPix2PixPipeline',
    ('StableDiffusionXLPipeline', 'masked'): 'StableDiffusionXLInpaintPipeline'}
BESIDE = dict(safety_checker=[None, None], feature_extractor=[None, None],
              image_encoder=[None, None], requires_safety_checker=False)
XL = dict(feature_extractor=[None, None], image_encoder=[None, None],
          force_zeros_for_empty_prompt=True)
EXTRA = {  # what model_index.json says beside
    'StableDiffusionPipeline': BESIDE, 'StableDiffusionInpaintPipeline': BESIDE,
    'StableDiffusionInstructPix2PixPipeline': BESIDE, 'StableDiffusionXLPipeline': XL,
    'StableDiffusionXLInpaintPipeline': XL | dict(requires_aesthetics_score=False),
    'StableDiffusion3Pipeline': dict(
        feature_extractor=[None, None], image_encoder=[None, None])}


def encoders(name: str, ours) -> dict:
  """{folder: (our module of a text encoder, its fields of transformers)}."""
  if name == 't5':
    return {'text_encoder': (ours, t5(ours))}
  if name == 'clip':
    return {'text_encoder': (ours, clip(ours, False))}
  projections = ('none' if name == 'sdxl' else 'projection', 'projection')
  both = two_clips(ours, *projections)
  found = {f'text_encoder{end}': (encoder, clip(encoder, kind == 'projection'))
           for encoder, kind, end in zip(both, projections, ('', '_2'))}
  if name == 'sd3' and ours.t5_depth:
    third = T5(ours.t5_vocab, ours.t5_width, ours.t5_depth, ours.t5_heads,
               ours.t5_head_width, ours.t5_hidden, masked=False)
    found['text_encoder_3'] = third, t5(third)
  return found


def pipeline(names: dict[str, str], module, size, length: int) -> tuple[dict, dict]:
  """(model_index.json without scheduler and tokenizers, {folder: its config.json}).

  names: of our modules in a config: {'model', 'condition', 'autoencoder'}. module:
  TextToImage. size: (height, width) of its pictures. length: tokens of a caption.
  Raises ValueError for what no pipeline is made of.
  """
  key = names['model'], names['condition']
  if key not in CONTENTS or names['autoencoder'] not in AUTOENCODERS:
    known = ', '.join(f'{model} with {condition}' for model, condition in CONTENTS)
    raise ValueError(
        f'config.model.name is {key[0]!r}, config.condition.name {key[1]!r} and '
        f'config.autoencoder.name {names["autoencoder"]!r}; pipelines of diffusers are '
        f'of the autoencoders {" and ".join(AUTOENCODERS)}, and {known}.')
  if size[0] != size[1]:
    raise ValueError(f'config.data.size is {size}; pipelines are of squares.')
  kind, folder, fields = CONTENTS[key]
  kind = LENGTHS.get((kind, length), kind)
  kind = SHOWN.get((kind, getattr(module.backbone, 'shown', 'nothing')), kind)
  text = encoders(key[1], module.text_encoder)
  widths = [encoder.width for encoder, _ in text.values()]
  pooled = sum(widths[:2]) if key[1] == 'sd3' else widths[-1]
  width = module.text_encoder.t5_width if key[1] == 'sd3' else sum(widths)
  latents = module.latent_shape(size)[0]
  files = {'vae': AUTOENCODERS[names['autoencoder']](module.autoencoder, size[0]),
           folder: fields(module.backbone, latents, width, pooled)}
  files |= {name: said for name, (_, said) in text.items()}
  index = {'_class_name': kind, '_diffusers_version': VERSION} | EXTRA.get(kind, {})
  index |= {name: ['diffusers', said['_class_name']] if '_class_name' in said else
            ['transformers', said['architectures'][0]] for name, said in files.items()}
  if key[1] == 'sd3' and len(text) == 2:
    index |= {'text_encoder_3': [None, None], 'tokenizer_3': [None, None]}
  return index, files
