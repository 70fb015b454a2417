"""Public pipelines draw here what they draw in diffusers (make_pipelines.py)."""
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.papers import config
from helpers import seeded
from helpers.pipelines import MADE, PARTS, with_weights
import inference
from inference import generation, loading
from inference.requests import build_request
import models
from training import sharding

DRAWN = np.load(MADE / 'drawn.npz')
PROMPTS, STEPS, GUIDANCE = ['a red circle', 'blue'], 4, 3.0  # of the fixture
ODD = ['A RED! circle!! ', 'blue <|endoftext|> a']
MASK = np.zeros((2, 16, 16, 1), np.float32)
MASK[0, 3:, :9], MASK[1, :, 6:11] = 1, 1
STRENGTH = {'sdxl_refiner': 0.5}
SETTINGS = {'sd_instruct': dict(picture_guidance=2.0)}


def draw(name, model, prompts, negative=None):
  """The pictures of the fixture's prompts, as whole numbers."""
  c = generation.with_settings(model.config, dict(
      steps=STEPS, guidance=GUIDANCE, **SETTINGS.get(name, {})))
  request = build_request(model.tokenizer, prompts, c.tokenizer.length, model.size,
                          negative=negative)
  request = request.replace(noise=DRAWN[f'{name}/noise'])
  if c.model.get('shown', 'nothing') != 'nothing' or name in STRENGTH:
    pictures = seeded.pictures(2, 16, 16, 3).astype(np.float32) / 127.5 - 1
    request = request.replace(image=pictures,
                              mask=MASK if c.model.shown == 'masked' else None)
  return generation.sample_request(model.replace(config=c), request, np.zeros(2, int),
                                   seed=0, strength=STRENGTH.get(name, 1.0)).astype(int)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """name -> a pipeline of that name, with its weights."""
  root = tmp_path_factory.mktemp('public')
  return functools.cache(lambda name: with_weights(name, root))


@pytest.mark.parametrize('name', PARTS)
def test_draws_what_the_pipeline_draws(name, folder):
  """From JSON files, tokens and noise to pixels, by the pipeline's own scheduler."""
  model = inference.load(str(folder(name)))
  got = draw(name, model, PROMPTS)
  expected = np.round(255 * DRAWN[f'{name}/pictures']).astype(int)
  assert expected.std() > 30 and abs(expected[0] - expected[1]).max() > 30
  assert abs(got - expected).max() <= 1


@pytest.mark.parametrize('name', [name for name in PARTS if not (
    'inpaint' in name or name in ('sd_instruct', 'sdxl_refiner'))])
def test_odd_prompts_are_read_as_the_pipeline_reads_them(name, folder):
  """A '!', which pads; capitals; a literal end; an empty negative prompt that is given,
  where SDXL takes none for another."""
  model = inference.load(str(folder(name)))
  got = draw(name, model, ODD, '')
  expected = np.round(255 * DRAWN[f'{name}/odd']).astype(int)
  assert abs(got - expected).max() <= 1


def test_without_t5_as_many_zeros_stand_in_its_place(folder):
  """A level or less of the pictures of the fixture, which so few steps do not show."""
  module = inference.load(str(folder('sd3_without_t5'))).module
  context, _ = jax.eval_shape(lambda: module.init_with_output(
      jax.random.key(0), jnp.zeros((1, 154), jnp.int32), method='encode'))
  assert context.text.shape == (1, 77 + 256, 40)


def test_what_a_model_is_shown_has_to_be_given_and_is_for_it_alone(folder):
  """A picture, a mask, a scale of guidance by the picture, a network that paints."""
  def drawn(name, fill=None, **change):
    model = inference.load(str(folder(name)))
    request = build_request(model.tokenizer, ['a'], 77, model.size)
    generation.sample_request(
        model.replace(config=generation.with_settings(model.config, change)), request,
        np.zeros(1, int), seed=0, fill=fill)
  for name, change, said in (
      ('sd_inpaint', {}, 'takes a picture and a mask'),
      ('sd_instruct', {}, 'changes pictures: it takes one'),
      ('sd15', dict(picture_guidance=1.5), 'picture_guidance is 1.5, for models that'),
      ('sd15', dict(fill='network'), 'this one does not')):
    with pytest.raises(ValueError, match=said):
      drawn(name, **change)


PUBLISHED = {  # our configs of papers -> what their pipelines say, from memory
    'sd15': ('sd15', 'sd15', '', dict(
        unet=dict(block_out_channels=[320, 640, 1280, 1280], layers_per_block=2,
                  norm_num_groups=32, attention_head_dim=8, sample_size=64,
                  down_block_types=3 * ['CrossAttnDownBlock2D'] + ['DownBlock2D'],
                  up_block_types=['UpBlock2D'] + 3 * ['CrossAttnUpBlock2D']),
        text_encoder=dict(vocab_size=49408, hidden_size=768, num_hidden_layers=12,
                          num_attention_heads=12, intermediate_size=3072))),
    'sdxl': ('sdxl', 'sdxl', '', dict(
        unet=dict(block_out_channels=[320, 640, 1280], layers_per_block=2,
                  norm_num_groups=32, attention_head_dim=[5, 10, 20], sample_size=128,
                  transformer_layers_per_block=[1, 2, 10],
                  down_block_types=['DownBlock2D'] + 2 * ['CrossAttnDownBlock2D'],
                  up_block_types=2 * ['CrossAttnUpBlock2D'] + ['UpBlock2D']),
        text_encoder=dict(vocab_size=49408, hidden_size=768, num_hidden_layers=12,
                          num_attention_heads=12, intermediate_size=3072),
        text_encoder_2=dict(vocab_size=49408, hidden_size=1280, num_hidden_layers=32,
                            num_attention_heads=20, intermediate_size=5120))),
    'sd3:3.5-medium': ('sd3', 'sd3', '3.5-medium', dict(
        transformer=dict(num_layers=24, num_attention_heads=24, attention_head_dim=64,
                         sample_size=128, pos_embed_max_size=384, in_channels=16,
                         out_channels=16, caption_projection_dim=1536,
                         joint_attention_dim=4096, pooled_projection_dim=2048,
                         dual_attention_layers=list(range(13))),
        vae=dict(latent_channels=16),
        text_encoder=dict(vocab_size=49408, hidden_size=768, num_hidden_layers=12,
                          num_attention_heads=12, intermediate_size=3072),
        text_encoder_2=dict(vocab_size=49408, hidden_size=1280, num_hidden_layers=32,
                            num_attention_heads=20, intermediate_size=5120),
        text_encoder_3=dict(vocab_size=32128, d_model=4096, num_layers=24, num_heads=64,
                            d_kv=64, d_ff=10240))),
    'pixart:512': ('pixart', 'pixart', '512', dict(
        transformer=dict(num_layers=28, num_attention_heads=16, attention_head_dim=72,
                         sample_size=64, cross_attention_dim=1152,
                         caption_channels=4096),
        text_encoder=dict(vocab_size=32128, d_model=4096, num_layers=24, num_heads=64,
                          d_kv=64, d_ff=10240))),
}


def change(folder, module, **fields):
  path = folder / module / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize('case', PUBLISHED)
def test_the_published_sizes_give_the_config_of_the_paper(case, tmp_path):
  name, paper, variant, modules = PUBLISHED[case]
  shutil.copytree(MADE / name, tmp_path / name)
  change(tmp_path / name, 'vae', block_out_channels=[128, 256, 512, 512],
         layers_per_block=2, norm_num_groups=32,
         down_block_types=4 * ['DownEncoderBlock2D'],
         up_block_types=4 * ['UpDecoderBlock2D'])
  for module, fields in modules.items():
    change(tmp_path / name, module, **fields)
  got, wanted = (c.unlock() for c in (
      loading.config_of(str(tmp_path / name)), config(paper, variant)))
  def built(c):
    c = c.copy_and_resolve_references().unlock()
    c.model.update(dict(remat='none', dtype='float32'))
    return models.build(c, 40)
  assert got.tokenizer.length == wanted.tokenizer.length + 77 * (
      paper in ('sdxl', 'sd3'))  # a row of tokens for each CLIP
  got.tokenizer.length = wanted.tokenizer.length
  for c in (got, wanted):  # but for what is said of tokens, of the fixture's tokenizers
    for name in ('vocab', 'pad', 'pads', 'end', 'separate', 'zeros'):
      if name in c.condition:
        del c.condition[name]
  assert repr(built(got)) == repr(built(wanted))
  assert got.data.size == wanted.data.size
  for key in ('schedule', 'target'):
    assert got.diffusion[key] == wanted.diffusion[key]
  frozen = {part for part, _ in wanted.init_from}
  assert {part for part, _ in got.init_from} == frozen | {'backbone'}


BAD = {
    'no pipeline': (lambda f: (f / 'model_index.json').unlink(), 'no model_index.json'),
    'another': (lambda f: (f / 'model_index.json').write_text(
        '{"_class_name": "FluxPipeline"}'), "_class_name = 'FluxPipeline', not one of"),
    'no JSON': (lambda f: (f / 'unet' / 'config.json').write_text('{'), 'is not JSON'),
    'inpainting': (lambda f: change(f, 'unet', in_channels=9),
                   'in_channels = 9; here it is 4'),
    'refiner': (lambda f: change(f, 'unet', down_block_types=['K', 'K'],
                                 up_block_types=['K', 'K']), "down_block_types ['K']"),
    'no field': (lambda f: (f / 'text_encoder' / 'config.json').write_text('{}'),
                 "lacks 'hidden_size'"),
    'no weights': (lambda f: (f / 'unet' / 'model.safetensors').unlink(),
                   'no safetensors file'),
    'other weights': (lambda f: change(f, 'unet', block_out_channels=[16, 16]),
                      'does not fit the config'),
    'no tokenizer': (lambda f: (f / 'tokenizer' / 'tokenizer.json').unlink(),
                     'tokenizer.json'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_is_no_such_pipeline_is_named(case, folder, tmp_path):
  spoil, said = BAD[case]
  shutil.copytree(folder('sd15'), tmp_path / 'bad')
  spoil(tmp_path / 'bad')
  with pytest.raises((ValueError, OSError), match=said.replace('[', r'\[')):
    loading.load_pipeline(loading.pipeline_config(str(tmp_path / 'bad')),
                          sharding.make_mesh(1))
