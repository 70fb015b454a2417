"""LoRA files: what PEFT and diffusers compute with them is computed here, and they are
written as they are read."""
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as storage

from helpers import papers, seeded
from helpers.pipelines import with_weights
from helpers.references import FIXTURES
import inference
from inference import adapters
from interop import lora as lora_files, lora_export
import models
from models import lora
from training import rules

MADE = FIXTURES / 'lora'
DRAWN = np.load(MADE / 'drawn.npz')
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  """The small Stable Diffusion 1 that the files are for."""
  return inference.load(str(with_weights('sd15', tmp_path_factory.mktemp('public'))))


@pytest.fixture(scope='module')
def eps(model):
  """parameters -> what its U-Net predicts, of the fixture's x, t and texts."""
  rows = [model.tokenizer.ids(text)[0] for text in ('a red circle', 'blue')]
  x = seeded.numbers('lora/x', 2 * 4 * 8 * 8).reshape(2, 8, 8, 4)
  @jax.jit
  def run(params):
    def apply(*args, method):
      return model.module.apply({'params': params}, *args, method=method)
    context = apply(jnp.stack(rows), method='encode')
    t = (jnp.float32([99, 700]) + 1) / 1000
    return apply(jnp.asarray(x), models.Scalars(t), context, method='predict')
  return run


@pytest.mark.parametrize('name', sorted(
    set(DRAWN) - {'none', 'embedding'}))
def test_a_file_computes_what_it_computes_in_peft(name, model, eps):
  got = eps(adapters.add_adapters(model, str(MADE / name)).params)
  assert abs(DRAWN[name] - DRAWN['none']).max() > 0.2
  np.testing.assert_allclose(got, DRAWN[name], atol=2e-5)
  np.testing.assert_allclose(eps(model.params), DRAWN['none'], atol=2e-5)


def test_several_add_up_each_with_its_weight(model, eps):
  """Also a DoRA, whose kernels are those of the model alone: as PEFT has it."""
  names = ['dora', 'rslora', 'kohya.safetensors']
  changed = [adapters.add_adapters(model, f'{MADE}/{name}:0.5').params
             for name in names]
  got = adapters.add_adapters(model, *[(str(MADE / name), 0.5) for name in names])
  together = jax.tree.map(lambda p, *new: p + sum(x - p for x in new), model.params,
                          *changed)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), got.params,
               together)
  once, half = adapters.add_adapters(model, f'{MADE}/rslora').params, changed[1]
  jax.tree.map(lambda p, a, b: np.testing.assert_allclose(b, (p + a) / 2, atol=1e-6),
               model.params, once, half)
  assert 'rslora:0.5' in got.source and got.programs is model.programs


REGEXES = ('backbone/.*_attention/.*', 'backbone/.*/(conv_1|skip|up|out)',
           'backbone/(in|down_1|up_1)', 'text_encoder/.*')


@functools.cache
def drawn(paper, name, dora=False):
  """(parameters, adapters with no zeros, modules) of a small model of a paper."""
  c = papers.config(paper, name, 'reduced')
  c.autoencoder = dict(name='none') if paper == 'dit' else c.autoencoder
  module = models.build(c)
  init = functools.partial(models.init_params, module, size=(c.data.size,) * 2,
                           length=c.tokenizer.length)
  shapes = jax.eval_shape(init, KEY)
  params = jax.tree.map(lambda at, leaf: seeded.numbers(at, leaf.size).reshape(
      leaf.shape), rules.names(shapes), shapes)
  layers = lora.chosen(lora.layers_of(init), ('(backbone|text_encoder)/.*',))
  made = lora.init_adapters(KEY, params, layers, 2, dora)
  made = jax.tree.map(lambda at, leaf: seeded.numbers(at, leaf.size).reshape(
      leaf.shape), rules.names(made), made)
  return params, made, adapters.modules_of(c, module)


ROUND = [('sdxl', '', 'kohya', False), ('sd3', '3.5-medium', 'peft', False),
         ('pixart', '512', 'peft', True), ('uvit_coco', 'small', 'ours', False)]
ROUND += [pytest.param(*case, marks=pytest.mark.long) for case in (
    ('sd15', '', 'kohya', False), ('sdxl', '', 'peft', True),
    ('sd15', '', 'ours', True))]


@pytest.mark.parametrize('paper, name, layout, dora', ROUND)
def test_what_is_written_is_read_again(paper, name, layout, dora, tmp_path):
  """Every layer of each family, bit for bit; the gain of DoRA to rounding."""
  params, made, modules = drawn(paper, name, dora)
  path = str(tmp_path / 'a.safetensors')
  lora_export.save(path, made, params, modules, layout)
  got = lora_files.read(path, params, modules)
  assert rules.by_name(got).keys() == rules.by_name(made).keys()
  for at, value in rules.by_name(made).items():
    assert rules.by_name(got)[at].shape == value.shape
    np.testing.assert_allclose(rules.by_name(got)[at], value, err_msg=at,
                               rtol=1e-5 if at.endswith('gain') else 0)


@pytest.mark.parametrize('name', ['diffusers.safetensors', 'peft'])
def test_a_file_of_theirs_is_written_as_it_was(name, model, tmp_path):
  """Names, shapes and, with the scale in b, numbers."""
  modules = adapters.modules_of(model.config, model.module)
  made = lora_files.read(str(MADE / name), model.params, modules)
  path = tmp_path / 'again.safetensors'
  lora_export.save(str(path), made, jax.device_get(model.params), modules, 'peft')
  file, _ = lora_files.opened(str(MADE / name))
  theirs = {key.replace('base_model.model.', 'unet.'): value
            for key, value in storage.load_file(file).items()}
  ours = storage.load_file(path)
  assert ours.keys() == theirs.keys()
  for key, value in theirs.items():
    if value.shape == ours[key].shape and key.endswith('lora_A.weight'):
      np.testing.assert_array_equal(value, ours[key], err_msg=key)
    assert value.ndim == ours[key].ndim, key
  assert {key.replace('base_model.model.', 'unet.') for key in theirs} == set(ours)


PUBLISHED = {  # names as files on the hub have them -> our layers; the sizes are SDXL's
    'lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q':
        ('backbone/down_1_0_attention/blocks/self/q', 0),
    'lora_unet_input_blocks_8_1_transformer_blocks_9_ff_net_0_proj':
        ('backbone/down_2_1_attention/blocks/mlp/up', 9),
    'lora_unet_input_blocks_7_1_proj_in': ('backbone/down_2_0_attention/in', None),
    'lora_unet_input_blocks_3_0_op': ('backbone/down_1', None),
    'lora_unet_input_blocks_4_0_skip_connection': ('backbone/down_1_0/skip', None),
    'lora_unet_middle_block_1_transformer_blocks_3_attn2_to_out_0':
        ('backbone/middle_0_attention/blocks/cross/out', 3),
    'lora_unet_middle_block_2_out_layers_3': ('backbone/middle_1/conv_2', None),
    'lora_unet_output_blocks_0_0_emb_layers_1':
        ('backbone/up_2_0/modulation/out', None),
    'lora_unet_output_blocks_2_2_conv': ('backbone/up_2', None),
    'lora_unet_output_blocks_5_1_transformer_blocks_1_ff_net_2':
        ('backbone/up_1_2_attention/blocks/mlp/down', 1),
    'lora_unet_label_emb_0_2': ('backbone/pooled/down', None),
    'lora_unet_up_blocks_0_attentions_2_transformer_blocks_9_attn1_to_v':
        ('backbone/up_2_2_attention/blocks/self/v', 9),
    'lora_te1_text_model_encoder_layers_11_self_attn_q_proj':
        ('text_encoder/clip_l/blocks/attention/q', 11),
    'lora_te2_text_model_encoder_layers_31_mlp_fc2':
        ('text_encoder/clip_g/blocks/mlp/down', 31),
    'text_encoder_2.text_model.encoder.layers.5.self_attn.out_proj':
        ('text_encoder/clip_g/blocks/attention/out', 5),
    'unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k':
        ('backbone/middle_0_attention/blocks/cross/k', 0),
    'diffusion_model.input_blocks.5.1.transformer_blocks.1.attn2.to_q':
        ('backbone/down_1_1_attention/blocks/cross/q', 1),
}


def test_published_names_lead_to_our_layers():
  c = papers.config('sdxl', '')
  shapes = models.param_shapes(models.build(c), (1024, 1024), 77)
  found = lora_files.spellings(shapes, adapters.modules_of(c, models.build(c)))
  assert {name: found[name] for name in PUBLISHED} == PUBLISHED


OLD = {  # spellings of earlier versions -> what is made of them
    'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.'
    'up.weight': ('unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0',
                  'b'),
    'unet.mid_block.attentions.0.proj_in.lora.down.weight':
        ('unet.mid_block.attentions.0.proj_in', 'a'),
    'text_encoder.text_model.encoder.layers.3.self_attn.to_q_lora.down.weight':
        ('text_encoder.text_model.encoder.layers.3.self_attn.q_proj', 'a'),
    'text_encoder.text_model.encoder.layers.3.mlp.fc1.lora_linear_layer.up.weight':
        ('text_encoder.text_model.encoder.layers.3.mlp.fc1', 'b'),
    'base_model.model.conv_in.lora_A.default.weight': ('conv_in', 'a'),
    'lora_te_text_model_encoder_layers_0_mlp_fc2.alpha':
        ('lora_te_text_model_encoder_layers_0_mlp_fc2', 'alpha')}


@pytest.mark.parametrize('key', OLD)
def test_earlier_spellings_are_known(key):
  assert lora_files.split('a', key) == OLD[key]


UP, DOWN = '.lora_up.weight', '.lora_down.weight'
LAYER = 'lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q'
BAD = {
    'loha': ({f'{LAYER}.hada_w1_a': (4, 4)}, "hada_w1_a', which is not of LoRA"),
    'unknown': ({f'lora_unet_nothing{UP}': (4, 4)}, 'not have, .* lora_unet_nothing'),
    'half': ({f'{LAYER}{UP}': (16, 4)}, f'lacks the down matrix of {LAYER}'),
    'shape': ({f'{LAYER}{UP}': (16, 4), f'{LAYER}{DOWN}': (4, 8)},
              r'\[4, 8\] for a; the layer has \[16\] inputs and \[2, 8\] outputs'),
    'twice': ({f'{LAYER}{UP}': (16, 4), f'{LAYER}{DOWN}': (4, 16),
               'unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q'
               '.lora_A.weight': (4, 16), 'unet.down_blocks.0.attentions.0.transformer_'
               'blocks.0.attn1.to_q.lora_B.weight': (16, 4)}, 'to_q|twice'),
    'by inputs': ({f'{LAYER}{UP}': (16, 4), f'{LAYER}{DOWN}': (4, 16),
                   f'{LAYER}.dora_scale': (1, 16)}, 'one for each input'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_cannot_be_taken_is_named(case, model, tmp_path):
  shapes, said = BAD[case]
  path = tmp_path / 'bad.safetensors'
  storage.save_file({name: np.ones(shape, np.float32)
                     for name, shape in shapes.items()}, path)
  with pytest.raises(ValueError, match=said):
    adapters.add_adapters(model, str(path))


def test_what_is_no_file_and_no_weight_is_named(model, tmp_path):
  with pytest.raises(ValueError, match='is not a whole safetensors file'):
    adapters.add_adapters(model, str(tmp_path / 'none.safetensors'))
  with pytest.raises(ValueError, match='has no adapter_model.safetensors and no'):
    adapters.add_adapters(model, str(tmp_path))
  with pytest.raises(ValueError, match='--lora=a:nan is not FILE'):
    adapters.add_adapters(model, 'a:nan')
  assert adapters.path_and_weight('a:b.safetensors') == ('a:b.safetensors', 1.0)
  folder = tmp_path / 'peft'
  shutil.copytree(MADE / 'peft', folder)
  config = folder / 'adapter_config.json'
  config.write_text(json.dumps(json.loads(config.read_text()) | {
      'fan_in_fan_out': True}))
  with pytest.raises(ValueError, match='fan_in_fan_out = True; here it is False'):
    adapters.add_adapters(model, str(folder))


def test_a_layer_without_a_public_name_is_named(tmp_path):
  params, made, modules = drawn('uvit_coco', 'small')
  with pytest.raises(ValueError, match="has no name in the layout 'peft'"):
    lora_export.save(str(tmp_path / 'a'), made, params, modules, 'peft')
  params, made, modules = drawn('sd3', '3.5-medium')
  with pytest.raises(ValueError, match="has no name in the layout 'kohya'"):
    lora_export.save(str(tmp_path / 'a'), made, params, modules, 'kohya')


THEIRS = [('sd15', 'peft', True), ('sd15', 'kohya', False), ('sdxl', 'kohya', False),
          ('sd21', 'peft', False), ('sd3', 'peft', False), ('pixart', 'peft', False)]


@pytest.mark.long
@pytest.mark.parametrize('name, layout, dora', THEIRS)
def test_diffusers_draws_with_our_files_what_we_draw(name, layout, dora, tmp_path):
  """Adapters of attention, written here, in diffusers by PEFT; one level of 256."""
  diffusers = pytest.importorskip('diffusers', reason='needs torch and diffusers')
  peft = pytest.importorskip('peft')
  import torch
  from inference import pipeline_export
  model = inference.load(str(with_weights(name, tmp_path)))
  layers = lora.chosen(lora.layers_of(functools.partial(
      models.init_params, model.module, size=model.size,
      length=model.config.tokenizer.length)), (
          'backbone/.*(self|cross|attention)/(text_)?(q|k|v|out)',))
  made = lora.init_adapters(KEY, model.params, layers, 2, dora)
  made = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(KEY, x.shape), made)
  path = tmp_path / 'pytorch_lora_weights.safetensors'
  lora_export.save(str(path), jax.device_get(made), jax.device_get(model.params),
                   adapters.modules_of(model.config, model.module), layout)
  (tmp_path / 'whole').mkdir()
  pipeline_export.export(model, str(tmp_path / 'whole'))
  pipe = diffusers.DiffusionPipeline.from_pretrained(str(tmp_path / 'whole'))
  if name == 'pixart':  # whose pipeline does not read files of adapters; PEFT does
    state = {key.removeprefix('transformer.'): torch.tensor(value)
             for key, value in storage.load_file(path).items()}
    peft.inject_adapter_in_model(peft.LoraConfig(
        r=2, lora_alpha=2, target_modules=sorted({
            key.partition('.lora_')[0] for key in state})), pipe.transformer)
    left = peft.set_peft_model_state_dict(pipe.transformer, state)
    assert not left.unexpected_keys
  else:
    pipe.load_lora_weights(str(tmp_path), weight_name=path.name)
  noise = np.load(FIXTURES / 'pipelines' / 'drawn.npz')[f'{name}/noise']
  more = dict(use_resolution_binning=False, clean_caption=False) if (
      name == 'pixart') else {}
  with torch.no_grad():
    theirs = pipe(['a red circle', 'blue'], num_inference_steps=4, guidance_scale=3.0,
                  output_type='np', latents=torch.tensor(noise).permute(0, 3, 1, 2),
                  **more).images
  def drawn(model):
    return inference.generate(model, ['a red circle', 'blue'], noise=noise, steps=4,
                              guidance=3.0).astype(int)
  ours = drawn(adapters.add_adapters(model, str(path)))
  assert abs(ours - drawn(model)).max() > 20
  assert abs(np.round(255 * theirs) - ours).max() <= 1
