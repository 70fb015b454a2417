"""Published autoencoders and text encoders: exactly as large as they were published."""
import math

import jax
import jax.numpy as jnp
import pytest

from models import autoencoder, clip, t5
from test_published import places_and_axes_make_sense

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
  tokens = jax.ShapeDtypeStruct((2, 77), jnp.int32)
  out, variables = jax.eval_shape(module.init_with_output, jax.random.key(0), tokens)
  assert count(variables['params']) == size
  assert [(p.shape, p.dtype.name) for p in out] == [
      ((2, 77, width), 'bfloat16'), ((2, 77), 'bool'), ((2, pooled), 'bfloat16')]
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
