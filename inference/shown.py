"""What a network is shown beside the noise: a picture, or what a mask leaves of one.

A row of SHOWN makes models.Context.beside of a request, for backbones that declare it.
"""
import jax.numpy as jnp


def nothing(module, params, request):
  return None


def masked(module, params, request):
  """The mask and the latents of what is known, in Stable Diffusion's inpainting U-Nets.

  [b h' w' 1+c]. What is to be painted is grey; a latent is masked where its first pixel
  is, as where they were trained.
  """
  if request.image is None or request.mask is None:
    raise ValueError('this model paints in masks: it takes a picture and a mask '
                     '(--image, --mask).')
  latents = to_latents(module, params, request.image * (1 - request.mask))
  factor = module.autoencoder.factor
  return jnp.concatenate([request.mask[:, ::factor, ::factor], latents], -1)


def picture(module, params, request):
  """Latents as the autoencoder has them, not scaled: InstructPix2Pix, arXiv:2211.09800.

  [b h' w' c].
  """
  if request.image is None:
    raise ValueError('this model changes pictures: it takes one (--image).')
  latents = to_latents(module, params, request.image)
  return latents / module.autoencoder.scale + module.autoencoder.shift


SCORE, WORST = 6.0, 2.5  # what diffusers tells SDXL's refiner is to be liked, or not


def scored(module, contexts, score: float):
  """Contexts of a network that is told how much its pictures are to please."""
  if 'score' not in module.backbone.needs:
    return list(contexts)
  return [context.replace(score=jnp.full(len(context.sizes), score))
          for context in contexts]


def to_latents(module, params, x):
  return module.apply({'params': params}, x, method='to_latents')


SHOWN = {'nothing': nothing, 'masked': masked, 'picture': picture}


def led_by_picture(null, contexts, weights, picture_scale, scale):
  """Guidance by a text and by a picture, arXiv:2211.09800 eq. 3, as weighted prompts.

  The picture without a text is one more prompt, and what all lead away from is neither:
  x0 = none + picture_scale (picture - none) + scale sum_i weights_i (text_i - picture).

  Args:
    null, contexts: of the texts, shown the picture.
    weights: f32[b k], of the texts.
    picture_scale, scale: of either guidance, f32[].

  Returns (null, contexts, weights), as guidance.prompts takes them.
  """
  rest = picture_scale / scale - weights.sum(1, keepdims=True)
  neither = null.replace(beside=jnp.zeros_like(null.beside))
  return neither, [*contexts, null], jnp.concatenate([weights, rest], 1)
