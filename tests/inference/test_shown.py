"""What a network is shown beside the noise, and pictures that come with a request."""
import os

import jax.numpy as jnp
import numpy as np

from diffusion import guidance
import inference
from inference import edits, shown
from inference.requests import build_request
from models import Context


def test_a_masked_picture_is_the_mask_and_what_it_leaves():
  """Of a model of pixels, whose latents are the picture."""
  model = inference.load('weights/shapes')
  size = model.size
  rng = np.random.default_rng(0)
  pictures = {name: rng.uniform(-1, 1, (*size, 3)).astype(np.float32)
              for name in ('image', 'mask')}
  request = build_request(model.tokenizer, ['a red ring'] * 2,
                          model.config.tokenizer.length, size)
  assert shown.nothing(model.module, model.params, request) is None
  request, error = edits.given_pictures(model, request, 2, size, None, pictures)
  assert error is None and request.image.shape == (2, *size, 3)
  mask = np.float32(pictures['mask'].mean(-1, keepdims=True) > 0)
  beside = np.asarray(shown.masked(model.module, model.params, request))
  np.testing.assert_array_equal(beside[1, ..., :1], mask)
  np.testing.assert_allclose(beside[1, ..., 1:], pictures['image'] * (1 - mask))


def test_guidance_by_a_picture_is_the_equation_of_the_paper():
  """arXiv:2211.09800 eq. 3, of three predictions that are drawn at random."""
  seed = int.from_bytes(os.urandom(4))
  print(seed)
  rng = np.random.default_rng(seed)
  text, null = (rng.normal(size=(2, 4, 4, 1)).astype(np.float32) for _ in range(2))
  beside = np.ones((2, 4, 4, 1), np.float32)
  contexts = [Context(text=jnp.asarray(x), beside=jnp.asarray(beside))
              for x in (null, text)]
  scale, by_picture = 3.0, 1.7
  null_context, each, weights = shown.led_by_picture(
      contexts[0], contexts[1:], jnp.ones((2, 1)), by_picture, scale)
  def denoise(x, t, context):  # a network that tells what it is told
    return context.text + 5 * context.beside
  both, _ = guidance.prompts(denoise, each, weights, null_context)
  x = jnp.zeros((2, 4, 4, 1))
  cond, uncond = both(x, 0.5)
  got = uncond + scale * (cond - uncond)
  picture, none = null + 5, null
  np.testing.assert_allclose(
      got, none + by_picture * (picture - none) + scale * (text + 5 - picture),
      atol=1e-4)
