"""Published autoencoders and text encoders: exactly as large as they were published,
and side by side what each gives alone."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import autoencoders, conditions
from models.autoencoders import kl, tiny
from models.build import build_module
from models.conditions import clip, sd3, sdxl, t5
from helpers.placement import places_and_axes_make_sense
from helpers.references import weights

H = dict(width=1024, depth=23, heads=16, act='gelu', pad=0)
BIG_G = dict(width=1280, depth=32, heads=20, act='gelu', pad=0, skip=1,
             pooled='projection')
TEXTS = {  # parameters, the module, widths of what it gives
    'clip_l': (123_060_480, clip.CLIP(), 768, 0),
    'clip_h': (340_387_840, clip.CLIP(**H), 1024, 0),
    'clip_big_g': (694_659_840, clip.CLIP(**BIG_G), 1280, 1280),
    't5_s': (35_332_800, t5.T5(width=512, depth=8, heads=6, hidden=1024), 512, 0),
    't5_b': (109_628_544, t5.T5(width=768, depth=12, heads=12, hidden=2048), 768, 0),
    't5_l': (341_231_104, t5.T5(width=1024, heads=16, hidden=2816), 1024, 0),
    't5_xl': (1_223_527_424, t5.T5(width=2048, heads=32, hidden=5120), 2048, 0),
    't5_xxl': (4_762_310_656, t5.T5(), 4096, 0),
    'sdxl': (123_060_480 + 694_659_840, sdxl.SDXLText(), 2048, 1280),
    'sd3': (123_060_480 + 768**2 + 694_659_840 + 4_762_310_656, sd3.SD3(),
            4096, 2048),
}
AUTOENCODERS = {  # parameters, those of the decoder, the module
    'sd': (83_653_863, 49_490_199, kl.KL()),
    'sd3': (83_819_683, 49_545_475, kl.KL(
        channels=16, scale=1.5305, shift=0.0609, quant=False)),
    'taesd': (2_445_063, 1_222_531, tiny.Tiny()),
}


def count(params):
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


@pytest.mark.parametrize('name', TEXTS)
def test_a_text_encoder_has_its_published_size(name):
  size, module, width, pooled = TEXTS[name]
  module = module.clone(dtype=jnp.bfloat16)
  length = 90 if name == 'sd3' else 77
  module.check(32_128, length)
  tokens = jax.ShapeDtypeStruct((2, length), jnp.int32)
  out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), tokens)
  assert count(variables['params']) == size
  given = {k: (v.shape, v.dtype.name) for k, v in vars(out).items() if v is not None}
  assert given.keys() == module.gives
  assert given == {'text': ((2, length, width), 'bfloat16'),
                   'mask': ((2, length), 'bool')} | (
      {'pooled': ((2, pooled), 'bfloat16')} if pooled else {})
  places_and_axes_make_sense(variables['params'], size)


@pytest.mark.parametrize('name', AUTOENCODERS)
def test_an_autoencoder_has_its_published_size(name):
  size, decoder, module = AUTOENCODERS[name]
  module = module.clone(dtype=jnp.bfloat16)
  module.check()
  x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
  eps = jax.ShapeDtypeStruct((2, 8, 8, module.channels), jnp.float32)
  out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), x, eps)
  assert count(variables['params']) == size
  assert count(variables['params']['decoder']) == decoder
  assert (out.shape, out.dtype) == (x.shape, x.dtype)
  places_and_axes_make_sense(variables['params'], size)


PAIR = dict(vocab=40, widths=(8, 12), depths=(2, 2), heads=(2, 3))
SMALL_T5 = dict(width=24, depth=1, heads=2, head_width=4, hidden=16)
TOKENS = np.array([[38, 5, 7, 39, 0, 3, 1, 0], [38, 39, 0, 0, 0, 1, 0, 0]], np.int32)


@pytest.fixture(scope='module')
def small():
  """Outputs of both conditions and of their parts alone, on two captions."""
  both = sdxl.SDXLText(**PAIR)
  three = sd3.SD3(**PAIR, clip_length=5, t5_vocab=40, **{
      f't5_{k}': v for k, v in SMALL_T5.items()})
  parts = dict(
      clip_l=clip.CLIP(vocab=40, width=8, depth=2, heads=2, pad=39, skip=1,
                       pooled='projection'),
      clip_g=clip.CLIP(vocab=40, width=12, depth=2, heads=3, act='gelu', pad=0, skip=1,
                       pooled='projection'),
      t5=t5.T5(vocab=40, masked=False, **SMALL_T5))
  params = weights(jax.eval_shape(three.init, jax.random.key(0), TOKENS)['params'])

  @jax.jit
  def run(params):
    alone = {name: part.apply({'params': params[name]},
                              TOKENS[:, 5:] if name == 't5' else TOKENS[:, :5])
             for name, part in parts.items()}
    pair = {name: params[name] for name in ('clip_l', 'clip_g')}
    pair['clip_l'] = {k: v for k, v in pair['clip_l'].items() if k != 'projection'}
    return alone, {
        'sdxl': both.apply({'params': pair}, TOKENS[:, :5]),
        'sd3': three.apply({'params': params}, TOKENS)}
  return run(params)


def test_two_clips_stand_side_by_side_and_an_empty_caption_is_zeros(small):
  alone, got = small
  got = got['sdxl']
  want = np.concatenate([alone['clip_l'].text, alone['clip_g'].text], -1)
  said = np.array([1, 0])[:, None]
  np.testing.assert_allclose(got.text, want * said[..., None], atol=1e-6)
  np.testing.assert_allclose(got.pooled, alone['clip_g'].pooled * said, atol=1e-6)
  assert got.mask.all()


def test_sd3_has_the_text_of_both_clips_and_then_that_of_t5(small):
  alone, got = small[0], small[1]['sd3']
  np.testing.assert_allclose(got.text[:, :5, :8], alone['clip_l'].text, atol=1e-6)
  np.testing.assert_allclose(got.text[:, :5, 8:20], alone['clip_g'].text, atol=1e-6)
  np.testing.assert_array_equal(got.text[:, :5, 20:], 0)
  np.testing.assert_allclose(got.text[:, 5:], alone['t5'].text, atol=1e-6)
  want = np.concatenate([alone['clip_l'].pooled, alone['clip_g'].pooled], -1)
  np.testing.assert_allclose(got.pooled, want, atol=1e-6)
  assert got.mask.all()


def test_latents_are_drawn_from_moments():
  """arXiv:2112.10752: a normal of the encoder's mean and log variance."""
  net = kl.KL(width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4, shift=0.5,
              scale=2.0)
  moments, eps = (np.random.default_rng(i).normal(size=(2, 4, 6, n)).astype(np.float32)
                  for i, n in ((0, 8), (1, 4)))
  mean, log_var = np.split(moments, 2, -1)
  got = net.apply({}, moments, method='draw')
  np.testing.assert_allclose(got, 2 * (mean - 0.5), rtol=1e-5, atol=1e-6)
  got = net.apply({}, moments, eps, method='draw')
  np.testing.assert_allclose(got, 2 * (mean + np.exp(log_var / 2) * eps - 0.5),
                             rtol=1e-5, atol=1e-5)


CONDITION = conditions.CONDITIONS, (300, 16)  # tokens of the tokenizer, of a caption
AUTOENCODER = autoencoders.AUTOENCODERS, ()


@pytest.mark.parametrize('table, fields, said', [
    (CONDITION, dict(name='clip', heads=7), 'heads is 7, which does not divide 768'),
    (CONDITION, dict(name='clip', skip=12), 'skip is 12; it must be from 0 to 11'),
    (CONDITION, dict(name='clip', pooled='mean'), "pooled is 'mean', not one of"),
    (CONDITION, dict(name='t5', hidden=0), 'hidden is 0; it must be above 0'),
    (CONDITION, dict(name='sdxl', depths=(12,)), 'depths is .* needs two entries'),
    (CONDITION, dict(name='sdxl', vocab=299), 'vocab is 299; the tokenizer has 300'),
    (CONDITION, dict(name='sd3', vocab=299), 'vocab is 299; the tokenizer has 300'),
    (CONDITION, dict(name='sd3', t5_width=8), 't5_width is 8; .* does not fit'),
    (AUTOENCODER, dict(name='kl', groups=3), 'groups is 3, which does not divide'),
    (AUTOENCODER, dict(name='kl', scale=0.0), 'scale is 0.0; it must be above 0'),
])
def test_fields_that_make_no_sense_are_named(table, fields, said):
  with pytest.raises(ValueError, match=said):
    build_module(table[0], fields, 'config.x').check(*table[1])
