"""Edits of what is asked for: inversion, interpolation, guidance by a weaker model."""
import jax
import jax.numpy as jnp
import numpy as np

import diffusion
from diffusion import editing, sampling
from inference.generation import keys_of, noise_of
from inference.loading import Model
from inference.requests import Request, build_request
from inference.sampler import autoencoder_fns, build_plan, guided_denoiser


def to_input(picture):
  """A picture uint8 [h w c] as a request's `image` has it: f32[h w c] in [-1, 1]."""
  return picture.astype(np.float32) / 127.5 - 1


def to_mask(image):
  """`to_input` of a picture -> f32[h w 1], 1 where that is more white than black."""
  return (image.mean(-1, keepdims=True) > 0).astype(np.float32)


def unguided(c):
  """A config whose denoiser is the network's own x0: not guided, nothing clipped."""
  c = c.copy_and_resolve_references()
  c.sample.update(dict(guidance=1.0, clip='none'))
  return c


def invert(model: Model, request: Request):
  """The noise that leads to a picture, and how well it does: arXiv:2010.02502 sec. 4.3.

  Args:
    request: of one picture, with its `image` and the tokens of what it shows.

  Returns:
    (noise f32[1 *latent_shape], root mean squared difference of the picture that it
    leads to by the same solver, of a range of 2).

  Raises:
    ValueError: a solver that draws noise or chooses its own steps.
  """
  c, module = unguided(model.config), model.module
  process = diffusion.build(c.diffusion)
  how = build_plan(module, c, process)
  if how.solver.stochastic or how.solver.solve or how.solver.maps:
    raise ValueError('--invert takes a solver that draws no noise and has given steps, '
                     f'such as heun or ddim, not {c.sample.solver!r}.')
  keys = keys_of(0, np.zeros(1, int))

  @jax.jit
  def there_and_back(params, request):
    denoise = guided_denoiser(module, c, process, how, None, params, request, 1.0)()
    to_latents, to_pixels = autoencoder_fns(module, params['main'])
    def follow(x, timesteps):
      return sampling.sample(denoise, how.solver, x, timesteps, keys)
    x = follow(to_latents(request.image), editing.inversion_timesteps(how.timesteps))
    back = to_pixels(follow(x, how.timesteps))
    error = jnp.sqrt(jnp.mean((back - request.image) ** 2))
    return x / how.prior(process.schedule, how.timesteps[0], 1.0), error
  noise, error = there_and_back({'main': model.params}, request)
  return np.asarray(noise), float(error)


def given_pictures(model: Model, request: Request, m: int, size, caption: str | None,
                   pictures: dict):
  """(a request of m pictures with what is given, the error of `invert` or None).

  Args:
    caption: of the picture, where its noise is sought; None where it is not.
    pictures: 'image', 'mask', 'control', f32[h w c] in [-1, 1], those that there are.
  """
  if 'mask' in pictures:
    pictures = pictures | {'mask': to_mask(pictures['mask'])}
  many = {name: picture[None].repeat(m, 0) for name, picture in pictures.items()}
  if caption is None:
    return request.replace(**many), None
  asked = build_request(model.tokenizer, [caption], model.config.tokenizer.length, size)
  one = {name: picture[:1] for name, picture in many.items() if name != 'mask'}
  noise, error = invert(model, asked.replace(**one))
  del many['image']
  return request.replace(**many, noise=noise.repeat(m, 0)), error


def weak_tokens(model: Model, weak: Model, prompts, num: int):
  """request.weak_tokens of the same prompts, for autoguidance: arXiv:2406.02507.

  Raises ValueError if the weaker model is of another process.
  """
  def alike(m):
    return (m.config.diffusion.schedule, m.module.latent_shape(m.size),
            m.config.autoencoder)
  ours, theirs = alike(model), alike(weak)
  if ours != theirs:
    raise ValueError(
        f'--weak was trained with schedule {theirs[0]!r} on {theirs[1]} of autoencoder '
        f'{theirs[2].name!r}, --workdir with {ours[0]!r} on {ours[1]} of '
        f'{ours[2].name!r}; both, with all their fields, must be alike.')
  request = build_request(weak.tokenizer, prompts, weak.config.tokenizer.length,
                          weak.size, num=num)
  return request.tokens


def interpolate(request: Request, shape, *, steps: int, num: int, seed: int,
                to_seed: int):
  """(request, index) of num rows of pictures on the way from the first to the last.

  Prompts are mixed by weight, the noise [*shape] along a sphere.
  """
  share = np.tile(np.linspace(0, 1, steps, dtype=np.float32), num)  # [num steps]
  index = np.arange(num).repeat(steps)
  ends = [noise_of(seed, index, shape) for seed in (seed, to_seed)]
  first, last = request.tokens[0], request.tokens[-1]  # [1+k l]
  weights = np.concatenate([(1 - share)[:, None] * request.prompt_weights[:1],
                            share[:, None] * request.prompt_weights[-1:]], 1)
  return request.replace(
      tokens=np.concatenate([first, last[1:]])[None].repeat(len(share), 0),
      prompt_weights=weights, sizes=request.sizes[:1].repeat(len(share), 0),
      noise=np.asarray(jax.vmap(editing.slerp)(*ends, share))), index
