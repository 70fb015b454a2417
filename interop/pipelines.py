"""Public pipelines, folders as diffusers saves them, as parts of a config.

A folder has model_index.json and, for each part, a folder with its config.json and its
safetensors. What those files say becomes the fields of our modules; what says that a
part computes something else than ours is refused by name.
"""
import json
import os

SPACING = {'leading': 'leading(offset={offset}, more={more})', 'trailing': 'trailing',
           'linspace': 'linspace(more={more})'}
SOLVERS = {  # scheduler -> our solver; Euler's steps in sigma / alpha are DDIM's
    'DDIM': 'ddim', 'DDPM': 'ddpm', 'PNDM': 'ddim', 'EulerDiscrete': 'ddim',
    'EulerAncestralDiscrete': 'euler_ancestral', 'DPMSolverMultistep': 'dpmpp_2m',
    'UniPCMultistep': 'unipc', 'DEISMultistep': 'deis'}
BETAS = {'linear': ('linear', 1e-4, 0.02), 'scaled_linear': (
    'scaled_linear', 0.00085, 0.012), 'squaredcos_cap_v2': ('cosine', None, None)}
TARGETS = {'epsilon': 'eps', 'v_prediction': 'v', 'sample': 'x0'}


class Part:
  """A JSON file of a pipeline, read field by field so that an odd one is named."""

  def __init__(self, *path):
    self.path = os.path.join(*path)
    try:
      with open(self.path, encoding='utf-8') as f:
        self.fields = json.load(f)
    except ValueError as e:
      raise ValueError(f'{self.path} is not JSON: {e}') from e
    if not isinstance(self.fields, dict):
      raise ValueError(f'{self.path} has no fields.')

  def get(self, key: str, *default):
    """A field; raises ValueError where it is missing and there is no default."""
    if key not in self.fields and not default:
      raise ValueError(f'{self.path} lacks {key!r}.')
    value = self.fields.get(key, *default)
    return default[0] if value is None and default else value

  def only(self, **expected):
    """Raises ValueError for a field that is there with another value."""
    for key, value in expected.items():
      found = self.fields.get(key)
      if found is not None and found != value:
        raise ValueError(f'{self.path} has {key} = {found!r}; here it is {value!r}.')

  def one_of(self, key: str, table, *default):
    """table[the field], or ValueError with what there is."""
    value = self.get(key, *default)
    if value not in table:
      raise ValueError(f'{self.path} has {key} = {value!r}, not one of '
                       f'{sorted(table)}.')
    return table[value]


def read(folder: str) -> dict:
  """Parts of a config: {'model': {...}, 'weights': ((part, folder), ...), ...}.

  Raises:
    ValueError, OSError: no such pipeline, or one that we have no equal of, by file and
      field.
  """
  if not os.path.isfile(os.path.join(folder, 'model_index.json')):
    raise ValueError(f'{folder} has no model_index.json; a folder as diffusers saves '
                     'pipelines has one.')
  return Part(folder, 'model_index.json').one_of('_class_name', PIPELINES)(folder)


def several(part: Part, key: str, n: int, *default):
  """A field that is one number for all levels, or a list of them."""
  value = part.get(key, *default)
  return tuple(value) if isinstance(value, list) else (value,) * n


def autoencoder(folder: str) -> dict:
  part = Part(folder, 'vae', 'config.json')
  part.only(_class_name='AutoencoderKL', act_fn='silu', mid_block_add_attention=True,
            in_channels=3, out_channels=3, use_post_quant_conv=part.get(
                'use_quant_conv', True))
  widths = part.get('block_out_channels')
  return dict(
      name='kl', width=widths[0], mults=mults(part, widths),
      blocks=part.get('layers_per_block', 1), groups=part.get('norm_num_groups', 32),
      channels=part.get('latent_channels', 4),
      scale=part.get('scaling_factor', 0.18215), shift=part.get('shift_factor', 0.0),
      quant=part.get('use_quant_conv', True))


def mults(part: Part, widths):
  if any(w % widths[0] for w in widths):
    raise ValueError(f'{part.path} has block_out_channels = {widths}; here they are '
                     'multiples of the first.')
  return tuple(w // widths[0] for w in widths)


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
  depths = several(part, 'transformer_layers_per_block', n, 1)
  blocks = set(several(part, 'layers_per_block', n))
  if len(blocks) > 1:
    raise ValueError(f'{part.path} has layers_per_block = {sorted(blocks)}; here all '
                     'levels have as many.')
  extra = part.one_of('addition_embed_type', {'none': {}, 'text_time': {
      'pooled': 'mlp'}}, 'none')
  fields = dict(
      name='unet', width=widths[0], mults=mults(part, widths), blocks=blocks.pop(),
      attention=tuple(depth * kinds[name] for depth, name in zip(depths, down)),
      middle=depths[-1], kind='spatial', groups=part.get('norm_num_groups', 32),
      eps=part.get('norm_eps', 1e-5), time='index', pad=(1, 1), scale_shift=False,
      **heads(part, widths), **extra)
  return fields, part.get('sample_size')


def heads(part: Part, widths) -> dict:
  """How attention is split; `attention_head_dim` of these files counts heads."""
  count = part.get('num_attention_heads', part.get('attention_head_dim', 8))
  if not isinstance(count, list):
    return {'heads': count}
  each = {w / n for w, n in zip(widths, count)}
  if len(each) > 1:
    raise ValueError(f'{part.path} has attention_head_dim = {count}; here the heads of '
                     'all levels are equally wide.')
  return {'head_width': int(each.pop())}


def clip(folder: str, name: str, **only) -> Part:
  part = Part(folder, name, 'config.json')
  width = part.get('hidden_size')
  part.only(max_position_embeddings=77, intermediate_size=4 * width, **only)
  return part


def pad_of(folder: str, name: str) -> int:
  """The id that a CLIP tokenizer puts after the end."""
  found = Part(folder, name, 'tokenizer_config.json')
  old = os.path.join(folder, name, 'special_tokens_map.json')
  if os.path.exists(old) and 'added_tokens_decoder' not in found.fields:
    found = Part(old)
  pad = found.get('pad_token', '<|endoftext|>')
  pad = pad['content'] if isinstance(pad, dict) else pad
  vocab = os.path.join(folder, name, 'vocab.json')
  if os.path.exists(vocab):
    return Part(vocab).get(pad)
  return Part(folder, name, 'tokenizer.json').get('model')['vocab'][pad]


def two_clips(folder: str) -> dict:
  """Fields that the conditions of Stable Diffusion XL and 3 share."""
  first = clip(folder, 'text_encoder', hidden_act='quick_gelu')
  second = clip(folder, 'text_encoder_2', hidden_act='gelu',
                vocab_size=first.get('vocab_size'))
  def both(key):
    return tuple(part.get(key) for part in (first, second))
  return dict(vocab=first.get('vocab_size'), widths=both('hidden_size'),
              depths=both('num_hidden_layers'), heads=both('num_attention_heads'))


def t5(folder: str, name: str) -> dict:
  part = Part(folder, name, 'config.json')
  part.only(feed_forward_proj='gated-gelu', relative_attention_num_buckets=32,
            relative_attention_max_distance=128)
  return dict(vocab=part.get('vocab_size'), width=part.get('d_model'),
              depth=part.get('num_layers'), heads=part.get('num_heads'),
              head_width=part.get('d_kv'), hidden=part.get('d_ff'))


def noising(folder: str, **sample) -> dict:
  """Schedule, target, solver and grid of a scheduler; `sample` is what it lacks."""
  part = Part(folder, 'scheduler', 'scheduler_config.json')
  kind = part.get('_class_name').removesuffix('Scheduler')
  if kind == 'FlowMatchEulerDiscrete':
    part.only(num_train_timesteps=1000, use_dynamic_shifting=False,
              invert_sigmas=False, stochastic_sampling=False)
    diffusion = dict(schedule='flow', target='flow', weight='flow')
    shift = float(part.get('shift', 1.0))
    end = shift * 0.001 / (1 + (shift - 1) * 0.001)
    grid = f'shifted(shift={shift}, end={end:.6f})'
    return dict(diffusion=diffusion, sample=sample | dict(solver='euler', grid=grid))
  part.only(num_train_timesteps=1000, clip_sample=False, thresholding=False,
            use_beta_sigmas=False, use_exponential_sigmas=False)
  schedule, start, end = part.one_of('beta_schedule', BETAS)
  part.only(**({'beta_start': start, 'beta_end': end} if start else {}))
  zero = ', zero_snr=True' if part.get('rescale_betas_zero_snr', False) else ''
  target = part.one_of('prediction_type', TARGETS, 'epsilon')
  grid = part.one_of('timestep_spacing', SPACING, 'leading').format(
      offset=part.get('steps_offset', 0), more=int('Multistep' in kind))
  if part.get('use_karras_sigmas', False):  # from the first of its 1000 steps
    part.only(beta_schedule='scaled_linear')
    grid = 'karras(sigma_min=0.0292)'
  return dict(
      diffusion=dict(schedule=f'{schedule}(steps=1000{zero})', target=target,
                     weight=target),
      sample=sample | dict(solver=part.one_of('_class_name', {
          f'{name}Scheduler': solver for name, solver in SOLVERS.items()}), grid=grid))


def stable_diffusion(folder: str) -> dict:
  """Stable Diffusion 1 and 2."""
  vae = autoencoder(folder)
  model, side = unet(folder, vae)
  text = clip(folder, 'text_encoder')
  acts = {'quick_gelu': 'quick_gelu', 'gelu': 'gelu'}
  condition = dict(
      name='clip', vocab=text.get('vocab_size'), width=text.get('hidden_size'),
      depth=text.get('num_hidden_layers'), heads=text.get('num_attention_heads'),
      act=text.one_of('hidden_act', acts), pad=pad_of(folder, 'tokenizer'))
  return whole(folder, vae, model, condition, side, 'unet',
               {'text_encoder': 'text_encoder'}, {'tokenizer': 77},
               noising(folder, steps=50, guidance=7.5))


def stable_diffusion_xl(folder: str) -> dict:
  """Stable Diffusion XL's base."""
  vae, index = autoencoder(folder), Part(folder, 'model_index.json')
  model, side = unet(folder, vae)
  size = side * 2 ** (len(vae['mults']) - 1)
  condition = two_clips(folder) | dict(
      name='clips', sizes=(size, size, 0, 0, size, size),
      zeros=index.get('force_zeros_for_empty_prompt', True))
  return whole(folder, vae, model, condition, side, 'unet', {
      'text_encoder/clip_l': 'text_encoder', 'text_encoder/clip_g': 'text_encoder_2'},
      {'tokenizer': 77}, noising(folder, steps=50, guidance=5.0))


def stable_diffusion_3(folder: str) -> dict:
  """Stable Diffusion 3 and 3.5, with all three text encoders."""
  vae = autoencoder(folder)
  part = Part(folder, 'transformer', 'config.json')
  count = part.get('num_attention_heads')
  width, depth = count * part.get('attention_head_dim'), part.get('num_layers')
  text = two_clips(folder) | dict(name='sd3', clip_length=77) | {
      f't5_{key}': value for key, value in t5(folder, 'text_encoder_3').items()}
  dual = part.get('dual_attention_layers', ())
  part.only(_class_name='SD3Transformer2DModel', in_channels=vae['channels'],
            out_channels=vae['channels'], caption_projection_dim=width,
            joint_attention_dim=text['t5_width'],
            pooled_projection_dim=sum(text['widths']),
            dual_attention_layers=list(range(len(dual))))
  patch, side, grid = (
      part.get(key) for key in ('patch_size', 'sample_size', 'pos_embed_max_size'))
  norms = {'none': False, 'rms_norm': True}
  model = dict(name='mmdit', width=width, depth=depth, heads=count, patch=patch,
               grid=grid, place=side // patch / grid, dual=len(dual),
               qk_norm=part.one_of('qk_norm', norms, 'none'))
  return whole(folder, vae, model, text, side, 'transformer', {
      'text_encoder/clip_l': 'text_encoder', 'text_encoder/clip_g': 'text_encoder_2',
      'text_encoder/t5': 'text_encoder_3'}, {'tokenizer': 77, 'tokenizer_3': 256},
      noising(folder, steps=28, guidance=7.0))


def pixart(folder: str) -> dict:
  """PixArt-alpha."""
  vae = autoencoder(folder)
  part = Part(folder, 'transformer', 'config.json')
  text = t5(folder, 'text_encoder')
  part.only(in_channels=vae['channels'], norm_type='ada_norm_single',
            attention_bias=True, activation_fn='gelu-approximate',
            caption_channels=text['width'], norm_elementwise_affine=False)
  side, count = part.get('sample_size'), part.get('num_attention_heads')
  told = part.get('use_additional_conditions', side == 128)
  size = float(side * 2 ** (len(vae['mults']) - 1))
  model = dict(name='dit', width=count * part.get('attention_head_dim'),
               depth=part.get('num_layers'), heads=count, patch=part.get('patch_size'),
               out=part.get('out_channels'), shared=True, cross=True, pooled='sizes',
               time='index',
               place=1 / part.get('interpolation_scale', max(side // 64, 1)))
  return whole(folder, vae, model, text | dict(
      name='t5', sizes=(size, size, 1.0) if told else ()), side, 'transformer',
      {'text_encoder': 'text_encoder'}, {'tokenizer': 120},
      noising(folder, steps=20, guidance=4.5))


def whole(folder, vae, model, condition, side, backbone, encoders, files, how) -> dict:
  """Parts of a config, and where the weights of each module are."""
  at = {'autoencoder': 'vae', 'backbone': backbone} | encoders
  return how | dict(
      autoencoder=vae, model=model, condition=condition,
      data=dict(size=side * 2 ** (len(vae['mults']) - 1)),
      tokenizer=dict(length=sum(files.values()), files=tuple(
          (os.path.join(folder, name), length) for name, length in files.items())),
      weights=tuple((part, os.path.join(folder, name)) for part, name in at.items()))


PIPELINES = {'StableDiffusionPipeline': stable_diffusion,
             'StableDiffusionXLPipeline': stable_diffusion_xl,
             'StableDiffusion3Pipeline': stable_diffusion_3,
             'PixArtAlphaPipeline': pixart}
