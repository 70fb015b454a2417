"""Public pipelines, folders as diffusers saves them, as parts of a config.

A folder has model_index.json and, for each part, a folder with its config.json and its
safetensors. What those files say becomes the fields of our modules; what says that a
part computes something else than ours is refused by name, and so is a field that is not
known.
"""
import functools
import os

from interop import backbones, schedulers, text_encoders
from interop.part import Part

# Of model_index.json: parts that draw nothing, or only where they are asked for.
BESIDE = '''feature_extractor image_encoder requires_safety_checker safety_checker
    watermark add_watermarker'''.split()


def read(folder: str) -> dict:
  """Parts of a config: {'model': {...}, 'init_from': ((part, folder), ...), ...}.

  'notes' has sentences for the user: what is read otherwise than it is written.

  Raises ValueError or OSError for no such pipeline, or one that we have no equal of, by
  file and field.
  """
  if not os.path.isfile(os.path.join(folder, 'model_index.json')):
    raise ValueError(f'{folder} has no model_index.json; a folder as diffusers saves '
                     'pipelines has one.')
  index = Part(folder, 'model_index.json')
  parts = index.one_of('_class_name', PIPELINES)(folder, index)
  index.done(*BESIDE)
  loras = sorted(name for name in os.listdir(folder) if 'lora' in name.lower())
  parts['notes'] += tuple(f'{os.path.join(folder, name)} is not applied.'
                          for name in loras)
  return parts


def has(index, *names: str):
  """Raises ValueError for a part that the pipeline lacks."""
  for name in names:
    part = index.get(name, [None, None])
    if not (isinstance(part, list) and len(part) == 2 and part[0] and part[1]):
      index.refuse(name, part, 'that part must be there')


def lacks(index, name: str) -> bool:
  """Whether an optional part is not there."""
  return index.get(name, [None, None]) in (None, [None, None])


def autoencoder(folder: str, **only) -> dict:
  """Fields of our autoencoder. only: fields that the pipeline ignores there."""
  part = Part(folder, 'vae', 'config.json')
  if part.fields.get('_class_name') == 'AutoencoderTiny':
    return tiny(part)
  quant = part.get('use_quant_conv', True)
  widths = part.get('block_out_channels', [64])
  part.only(_class_name='AutoencoderKL', act_fn='silu', mid_block_add_attention=True,
            in_channels=3, out_channels=3, use_post_quant_conv=quant,
            down_block_types=['DownEncoderBlock2D'] * len(widths),
            up_block_types=['UpDecoderBlock2D'] * len(widths), **only)
  fields = dict(
      name='kl', width=widths[0], channel_mult=part.channel_mult(widths), quant=quant,
      channels=part.number('latent_channels', 4)) | part.read(
      num_res_blocks=('layers_per_block', 1), groups=('norm_num_groups', 32),
      scale=('scaling_factor', 0.18215))
  if 'shift_factor' not in only:
    fields['shift'] = part.get('shift_factor', 0.0)
  if 'latents_mean' not in only:
    fields |= statistics(part, fields['channels'])
  part.done('sample_size', 'force_upcast')
  return fields


def tiny(part) -> dict:
  """Fields of our tiny autoencoder."""
  widths = {*part.get('encoder_block_out_channels', [64] * 4),
            *part.get('decoder_block_out_channels', [64] * 4)}
  if len(widths) > 1:
    part.refuse('encoder_block_out_channels', sorted(widths), 'all are equally wide')
  part.only(_class_name='AutoencoderTiny', in_channels=3, out_channels=3, act_fn='relu',
            upsample_fn='nearest', upsampling_scaling_factor=2, shift_factor=0.0)
  blocks = {ours: tuple(part.get(key, list(usual))) for ours, key, usual in (
      ('encoder_blocks', 'num_encoder_blocks', (1, 3, 3, 3)),
      ('decoder_blocks', 'num_decoder_blocks', (3, 3, 3, 1)))}
  fields = dict(name='tiny', channels=part.number('latent_channels', 4),
                width=widths.pop(), scale=float(part.get('scaling_factor', 1.0)))
  part.done('block_out_channels', 'force_upcast', 'latent_magnitude', 'latent_shift')
  return fields | blocks


def levels_of(vae: dict) -> int:
  return len(vae['decoder_blocks' if vae['name'] == 'tiny' else 'channel_mult'])


def statistics(part, channels: int) -> dict:
  """The mean and the spread of latents, a number a channel."""
  found = {}
  for name, key in (('mean', 'latents_mean'), ('std', 'latents_std')):
    values = part.get(key, [])
    if len(values) not in (0, channels) or not all(
        isinstance(value, int | float) for value in values):
      part.refuse(key, values, f'it has {channels} numbers')
    found[name] = tuple(map(float, values))
  if bool(found['mean']) != bool(found['std']):
    part.refuse('latents_mean', found['mean'], 'it is there with latents_std')
  return found if found['mean'] else {}


UNSHIFTED = dict(shift_factor=None)  # by pipelines that scale latents alone
PLAIN = UNSHIFTED | dict(latents_mean=None, latents_std=None)


def stable_diffusion(folder: str, index, shown: str = 'nothing',
                     corrected=('steps_offset', 'clip_sample'), **sample):
  """Stable Diffusion 1 and 2, and what is made of them.

  shown: of backbones.unet. corrected: of schedulers.noising. sample: keys of it that
  the scheduler does not say.
  """
  has(index, 'vae', 'unet', 'text_encoder', 'tokenizer', 'scheduler')
  vae = autoencoder(folder, **PLAIN)
  model, side = backbones.unet(folder, vae, shown)
  text = text_encoders.clip(folder, 'text_encoder')
  condition = text.read(
      vocab='vocab_size', width='hidden_size', depth='num_hidden_layers',
      heads='num_attention_heads') | dict(
      name='clip', pad=text_encoders.special(folder, 'tokenizer', 'pad_token'),
      end=text_encoders.special(folder, 'tokenizer', 'eos_token'),
      act=text.one_of('hidden_act', {act: act for act in ('quick_gelu', 'gelu')},
                      'quick_gelu'))
  noise = schedulers.noising(folder, corrected, **dict(
      steps=50, guidance=7.5) | sample)
  return assemble(folder, vae, model, condition, side, 'unet', {
      'text_encoder': 'text_encoder'}, {'tokenizer': 77}, noise)


def stable_diffusion_xl(folder: str, index, shown: str = 'nothing') -> dict:
  """Stable Diffusion XL's base, or its inpainting. shown: of backbones.unet."""
  has(index, 'vae', 'unet', 'text_encoder', 'text_encoder_2', 'tokenizer',
      'tokenizer_2', 'scheduler')
  vae = autoencoder(folder, **UNSHIFTED)
  model, side = backbones.unet(folder, vae, shown)
  condition = text_encoders.two_clips(folder) | dict(name='sdxl', zeros=False)
  noise = schedulers.noising(folder, steps=50, guidance=5.0)
  parts = assemble(folder, vae, model, condition, side, 'unet', {
      'text_encoder/clip_l': 'text_encoder', 'text_encoder/clip_g': 'text_encoder_2'},
      {'tokenizer': 77, 'tokenizer_2': 77}, noise)
  index.only(requires_aesthetics_score=False)
  parts['tokenizer']['absent'] = index.get('force_zeros_for_empty_prompt', True)
  return parts


def image_to_image_xl(folder: str, index) -> dict:
  """Stable Diffusion XL's base, or its refiner, which has the second CLIP alone."""
  if not (lacks(index, 'text_encoder') and lacks(index, 'tokenizer')):
    return stable_diffusion_xl(folder, index)
  has(index, 'vae', 'unet', 'text_encoder_2', 'tokenizer_2', 'scheduler')
  vae = autoencoder(folder, **UNSHIFTED)
  model, side = backbones.unet(folder, vae)
  model['scored'] = index.get('requires_aesthetics_score', False)
  condition = text_encoders.large_clip(folder) | dict(name='clip')
  index.must('force_zeros_for_empty_prompt', False, True)
  noise = schedulers.noising(folder, steps=50, guidance=5.0)
  return assemble(folder, vae, model, condition, side, 'unet', {
      'text_encoder': 'text_encoder_2'}, {'tokenizer_2': 77}, noise)


def stable_diffusion_3(folder: str, index) -> dict:
  """Stable Diffusion 3 and 3.5, with three text encoders, or without T5."""
  has(index, 'vae', 'transformer', 'text_encoder', 'text_encoder_2', 'tokenizer',
      'tokenizer_2', 'scheduler')
  vae = autoencoder(folder, latents_mean=None, latents_std=None)
  text = text_encoders.two_clips(folder) | dict(name='sd3', clip_length=77)
  places = {'text_encoder/clip_l': 'text_encoder',
            'text_encoder/clip_g': 'text_encoder_2'}
  files = {'tokenizer': 77, 'tokenizer_2': 77}
  model, side, joint = backbones.sd3(folder, vae, sum(text['widths']))
  without = lacks(index, 'text_encoder_3')
  if not lacks(index, 'tokenizer_3') and not without:
    text |= {f't5_{key}': value for key, value in text_encoders.t5(
        folder, 'text_encoder_3').items()}
    places['text_encoder/t5'], files['tokenizer_3'] = 'text_encoder_3', 256
  elif without:
    text |= dict(t5_depth=0, t5_width=joint)
  else:
    index.refuse('tokenizer_3', None, 'it is there with text_encoder_3')
  if text['t5_width'] != joint:
    raise ValueError(f"{folder}/transformer/config.json has joint_attention_dim = "
                     f"{joint}; here it is {text['t5_width']}, the width of T5.")
  noise = schedulers.noising(folder, steps=28, guidance=7.0)
  return assemble(folder, vae, model, text, side, 'transformer', places, files, noise)


def pixart(length: int, **sizes):
  """PixArt-alpha, of captions of 120 tokens, and -Sigma, of 300."""
  def row(folder: str, index) -> dict:
    has(index, 'vae', 'transformer', 'text_encoder', 'tokenizer', 'scheduler')
    vae = autoencoder(folder, **PLAIN)
    text = text_encoders.t5(folder, 'text_encoder') | dict(name='t5')
    model, side = backbones.pixart(folder, vae, text['width'], **sizes)
    noise = schedulers.noising(folder, steps=20, guidance=4.5)
    parts = assemble(folder, vae, model, text, side, 'transformer', {
        'text_encoder': 'text_encoder'}, {'tokenizer': length}, noise)
    parts['tokenizer']['lower'] = True
    return parts
  return row


def assemble(folder, vae, model, condition, side, backbone, encoders, files, noise):
  """Parts of a config, and where the weights of each module are.

  side: latents a side, or (height, width). noise: of schedulers.noising.
  """
  at = {'autoencoder': 'vae', 'backbone': backbone} | encoders
  factor = 2 ** (levels_of(vae) - 1)
  size = side * factor if isinstance(side, int) else tuple(n * factor for n in side)
  model = model | noise.pop('model', {})
  return noise | dict(
      autoencoder=vae, model=model, condition=condition, data=dict(size=size),
      tokenizer=dict(length=sum(files.values()), files=tuple(
          (os.path.join(folder, name), length) for name, length in files.items())),
      init_from=tuple((part, os.path.join(folder, name)) for part, name in at.items()))


PIPELINES = {'StableDiffusionPipeline': stable_diffusion,
             'LatentConsistencyModelPipeline': functools.partial(
                 stable_diffusion, steps=4, guidance=8.5),
             'StableDiffusionInpaintPipeline': functools.partial(
                 stable_diffusion, shown='masked', corrected=(
                     'steps_offset', 'skip_prk_steps')),
             'StableDiffusionInstructPix2PixPipeline': functools.partial(
                 stable_diffusion, shown='picture', corrected=(), steps=100,
                 picture_guidance=1.5),
             'StableDiffusionXLPipeline': stable_diffusion_xl,
             'StableDiffusionXLImg2ImgPipeline': image_to_image_xl,
             'StableDiffusionXLInpaintPipeline': functools.partial(
                 stable_diffusion_xl, shown='masked'),
             'StableDiffusion3Pipeline': stable_diffusion_3,
             'PixArtAlphaPipeline': pixart(120),
             'PixArtSigmaPipeline': pixart(300, size_embedding=False)}
