"""Published autoencoders and text encoders: exactly as large as they were published,
and side by side what each gives alone."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
from models import autoencoder, clip, t5, text_encoders
from test_published import places_and_axes_make_sense
from test_references import weights

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
    'sdxl': (123_060_480 + 694_659_840, text_encoders.Clips(), 2048, 2816),
    'sd3': (123_060_480 + 768**2 + 694_659_840 + 4_762_310_656, text_encoders.SD3(),
            4096, 2048),
}
AUTOENCODERS = {  # parameters, those of the decoder, the module
    'sd': (83_653_863, 49_490_199, autoencoder.KL()),
    'sd3': (83_819_683, 49_545_475, autoencoder.KL(
        channels=16, scale=1.5305, shift=0.0609, quant=False)),
}


def count(params):
  return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


@pytest.mark.parametrize('name', TEXTS)
def test_a_text_encoder_has_its_published_size(name):
  size, module, width, pooled = TEXTS[name]
  module = module.clone(dtype=jnp.bfloat16)
  module.check()
  length = 90 if name == 'sd3' else 77
  tokens = jax.ShapeDtypeStruct((2, length), jnp.int32)
  out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), tokens)
  assert count(variables['params']) == size
  assert [p.shape for p in out] == [(2, length, width), (2, length), (2, pooled)]
  summary = 'float32' if isinstance(module, t5.T5) else 'bfloat16'  # sizes, if any
  assert [p.dtype.name for p in out] == ['bfloat16', 'bool', summary]
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
SIZES = (64, 48, 1, 2, 32, 32)
SMALL_T5 = dict(width=24, depth=1, heads=2, head_width=4, hidden=16)
TOKENS = np.array([[38, 5, 7, 39, 0, 3, 1, 0], [38, 39, 0, 0, 0, 1, 0, 0]], np.int32)


@pytest.fixture(scope='module')
def small():
  """Outputs of both conditions and of their parts alone, on two captions."""
  clips = text_encoders.Clips(**PAIR, sizes=SIZES)
  sd3 = text_encoders.SD3(**PAIR, clip_length=5, t5_vocab=40, **{
      f't5_{k}': v for k, v in SMALL_T5.items()})
  parts = dict(
      clip_l=clip.CLIP(vocab=40, width=8, depth=2, heads=2, pad=39, skip=1,
                       pooled='projection'),
      clip_g=clip.CLIP(vocab=40, width=12, depth=2, heads=3, act='gelu', pad=0, skip=1,
                       pooled='projection'),
      t5=t5.T5(vocab=40, masked=False, **SMALL_T5))
  params = weights(jax.eval_shape(sd3.init, jax.random.key(0), TOKENS)['params'])

  @jax.jit
  def run(params):
    alone = {name: part.apply({'params': params[name]},
                              TOKENS[:, 5:] if name == 't5' else TOKENS[:, :5])
             for name, part in parts.items()}
    pair = {name: params[name] for name in ('clip_l', 'clip_g')}
    pair['clip_l'] = {k: v for k, v in pair['clip_l'].items() if k != 'projection'}
    return alone, {
        'clips': clips.apply({'params': pair}, TOKENS[:, :5]),
        'sd3': sd3.apply({'params': params}, TOKENS)}
  return run(params)


def test_two_clips_stand_side_by_side_and_an_empty_caption_is_zeros(small):
  alone, got = small
  text, mask, pooled = got['clips']
  want = np.concatenate([alone['clip_l'][0], alone['clip_g'][0]], -1)
  said = np.array([1, 0])[:, None]
  np.testing.assert_allclose(text, want * said[..., None], atol=1e-6)
  np.testing.assert_allclose(pooled[:, :12], alone['clip_g'][2] * said, atol=1e-6)
  waves = np.array(SIZES)[:, None] * 10_000.0 ** -(np.arange(128) / 128)
  waves = np.concatenate([np.cos(waves), np.sin(waves)], -1).reshape(-1)
  np.testing.assert_allclose(pooled[:, 12:], [waves] * 2, atol=1e-4)
  assert mask.all()


def test_sd3_has_the_text_of_both_clips_and_then_that_of_t5(small):
  alone, (text, mask, pooled) = small[0], small[1]['sd3']
  np.testing.assert_allclose(text[:, :5, :8], alone['clip_l'][0], atol=1e-6)
  np.testing.assert_allclose(text[:, :5, 8:20], alone['clip_g'][0], atol=1e-6)
  np.testing.assert_array_equal(text[:, :5, 20:], 0)
  np.testing.assert_allclose(text[:, 5:], alone['t5'][0], atol=1e-6)
  want = np.concatenate([alone['clip_l'][2], alone['clip_g'][2]], -1)
  np.testing.assert_allclose(pooled, want, atol=1e-6)
  assert mask.all()


@pytest.mark.parametrize('table, fields, said', [
    ('CONDITIONS', dict(name='clip', heads=7), 'heads is 7, which does not divide 768'),
    ('CONDITIONS', dict(name='clip', skip=12), 'skip is 12; it must be from 0 to 11'),
    ('CONDITIONS', dict(name='clip', pooled='mean'), "pooled is 'mean', not one of"),
    ('CONDITIONS', dict(name='t5', hidden=0), 'hidden is 0; it must be above 0'),
    ('CONDITIONS', dict(name='clips', depths=(12,)), 'depths is .* needs two entries'),
    ('CONDITIONS', dict(name='clips', sizes=(1, 2)), 'sizes is .* six entries'),
    ('CONDITIONS', dict(name='sd3', t5_width=8), 't5_width is 8; .* does not fit'),
    ('AUTOENCODERS', dict(name='kl', groups=3), 'groups is 3, which does not divide'),
    ('AUTOENCODERS', dict(name='kl', scale=0.0), 'scale is 0.0; it must be above 0'),
])
def test_fields_that_make_no_sense_are_named(table, fields, said):
  with pytest.raises(ValueError, match=said):
    models.make(getattr(models, table), fields, 'config.x').check()
