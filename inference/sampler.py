"""One compiled program from tokens to pictures."""
import functools
import math

import jax
import jax.numpy as jnp

from configs import base
import diffusion
from diffusion import editing, guidance, process as processes, sampling
from inference import shown
from inference.requests import Request
import models
from models import Scalars, placement
from training import controls

WATCHED = 16  # pictures on the way there, at most, that are shown while it is gone


def build_sampler(module, c, size, *, mesh=None, film: bool = False, weak=None,
                  strength: float = 1.0, fill: str | None = None, watch=None):
  """Makes the sampler of a model; what a request leaves None is not compiled.

  Args:
    module: TextToImage.
    c: config, of which `diffusion`, `sample` and `autoencoder` count.
    size: (height, width) of the pictures.
    mesh: over which they are drawn; None where the program stays on one device.
    film: also return the way there.
    weak: (config, module) of the network to move away from, in place of the empty
      prompt: autoguidance.
    strength: where there is a picture to start from, how much noise it gets, to 1.
    fill: of editing.FILLS, where there is a mask; None for what the network takes.
    watch: (step, steps, uint8 [b h w c]) -> None, called on the host with pictures on
      the way there, about WATCHED times; the pictures at the end are the same bits.

  Returns:
    (params, request, keys [b], scale f32[]) -> uint8 [b h w c]; with `film` also
    uint8 [steps b h w c]. params: {'main': of `module`, 'weak': of the weak one}.

  Raises:
    ValueError: a choice of config.sample that is none, or does not fit another.
  """
  process = diffusion.build(c.diffusion)
  how = build_plan(module, c, process, size)
  check_sampler(module, c, how, size, film)
  timesteps = editing.sdedit_timesteps(how.timesteps, strength)
  painting = diffusion.build_fill(fill_of(module, fill), how.solver)
  latent_shape = module.latent_shape(size)

  def draw(params, request: Request, keys, scale):
    to_latents, to_pixels = autoencoder_fns(module, params['main'])
    eps = request.noise
    if eps is None:
      eps = sampling.initial_noise(keys, latent_shape)
    x = how.prior(process.schedule, timesteps[0], eps)
    solver, times = how.solver, timesteps
    if request.image is not None:
      image = to_latents(request.image)
      if strength < 1:
        x = processes.add_noise(image, eps, *process.schedule(times[0]))
    if request.mask is not None:
      mask = latent_mask(request.mask, latent_shape)
      solver, times = (painting.solver(solver, process.schedule, image, mask, eps),
                       painting.timesteps(times))
    guided = guided_denoiser(module, c, process, how, weak, params, request, scale)
    tell = watch and watcher(watch, to_pixels, len(times) - 1)
    x = sampling.sample(guided if solver.maps else guided(), solver, x, times, keys,
                        film, tell)
    if not film:
      return to_uint8(to_pixels(x))
    x, way = x
    return to_uint8(to_pixels(x)), jax.lax.map(lambda z: to_uint8(to_pixels(z)), way)

  def sample(*args):
    with placement.over(mesh):
      return draw(*args)
  return jax.jit(sample)


def watcher(watch, to_pixels, steps: int):
  """What sampling.sample calls after each step, of build_sampler's `watch`."""
  every = math.ceil(steps / WATCHED)
  def show(i, x):
    jax.debug.callback(watch, i, steps, to_uint8(to_pixels(x)))
  return lambda i, x: jax.lax.cond(i % every == 0, show, lambda i, x: None, i, x)


def fill_of(module, fill: str | None) -> str:
  """How a mask is painted: by a network that sees it, or by putting back the rest."""
  sees = shown_to(module) == 'masked'
  if fill == 'network' and not sees:
    raise ValueError("--fill is 'network', for models that see the mask; this one does "
                     'not (config.model.shown).')
  return fill or ('network' if sees else 'blend')


def shown_to(module) -> str:
  """What the network is shown beside the noise: a row of shown.SHOWN."""
  return getattr(module.backbone, 'shown', 'nothing')


def is_guided(module, c) -> bool:
  """Whether guidance takes more than one evaluation: not at scale 1, and not of a
  network that is told the scale."""
  return c.sample.guidance != 1 and 'guidance' not in module.scalars


def build_plan(module, c, process, size=None):
  """What a config's `sample` says for pictures of that size: diffusion.Sampling."""
  chosen = c.sample
  if not is_guided(module, c):
    chosen = c.sample.copy_and_resolve_references()
    chosen.guidance = 1.0
  height, width, _ = module.latent_shape(size or base.height_width(c.data.size))
  patch = getattr(module.backbone, 'patch', 1)
  return diffusion.build_sampling(chosen, process, height * width // patch**2)


def check_sampler(module, c, how, size, film: bool = False):
  """Raises ValueError for what does not go together in a config's `sample`."""
  pixels = getattr(module.autoencoder, 'pixels', False)
  if not pixels and c.sample.clip != 'none':
    raise ValueError(f'config.sample.clip is {c.sample.clip!r}, which bounds pixels; '
                     "latents have no bound: 'none'.")
  if c.sample.picture_guidance != 1 and shown_to(module) != 'picture':
    raise ValueError(f'config.sample.picture_guidance is {c.sample.picture_guidance}, '
                     'for models that change a picture; this one is shown none '
                     '(config.model.shown).')
  if how.solver.maps and 's' not in module.scalars:
    raise ValueError(f'config.sample.solver is {c.sample.solver!r}, for networks that '
                     'were trained to be told the time that they go to; this one was '
                     'not (config.model.scalars, config.train.objective).')
  if how.solver.learned_variance:
    module.check_variance(f'config.sample.solver is {c.sample.solver!r}')
  if how.solver.solve and film:
    raise ValueError(f'config.sample.solver is {c.sample.solver!r}, whose steps differ '
                     'from picture to picture: it takes no film.')
  if tuple(size) != base.height_width(c.data.size) and not module.any_size:
    raise ValueError(f'height and width are {size[0]} and {size[1]}; this '
                     'config.model learned a table of places for '
                     f'{c.data.size} pixels, and draws no other size.')
  module.check(size)


def guided_denoiser(module, c, process, how, weak, params, request: Request, scale):
  """What a config's `sample` and a request describe: s f32[] -> guidance.Guided.

  s: the time that a network which is told one goes to; None for the time that it is at.
  """
  denoiser, (null, *contexts) = network(
      module, process, params['main'], request.tokens, request.sizes, scale,
      how.solver.learned_variance, how.network_time)
  weights, kind = request.prompt_weights, shown_to(module)
  beside = shown.SHOWN[kind](module, params['main'], request)
  check_control(module, request)
  control = None if request.control is None else controls.build(
      c.diffusion, module)(request.control)
  null, *contexts = (context.replace(beside=beside, control=control)
                     for context in (null, *contexts))
  null, = shown.scored(module, [null], shown.WORST)
  contexts = shown.scored(module, contexts, shown.SCORE)
  if kind == 'picture' and is_guided(module, c):
    null, contexts, weights = shown.led_by_picture(
        null, contexts, weights, c.sample.picture_guidance, scale)
  if weak:
    weak_c, weak_module = weak
    weak_denoiser, (weak_null, *weak_contexts) = network(
        weak_module, diffusion.build(weak_c.diffusion), params['weak'],
        request.weak_tokens, request.sizes, scale)
  def toward(s=None):
    both, cond_only = guidance.prompts(denoiser(s), contexts, weights, null)
    if weak:
      both, cond_only = guidance.networks(cond_only, guidance.prompts(
          weak_denoiser(s), weak_contexts, request.prompt_weights, weak_null)[1])
    return how.guide(both, cond_only, scale)
  return toward


def check_control(module, request):
  """Raises ValueError for a picture of control that nobody sees, or that is missing."""
  needed = 'control' in module.backbone.needs
  if needed != (request.control is not None):
    raise ValueError('this model has a ControlNet: it takes a picture (--control).' if
                     needed else 'a picture of control (--control) is for a ControlNet '
                     '(--controlnet), which this model has not.')


def network(module, process, params, tokens, sizes, scale, variance: bool = False,
            network_time=None):
  """(s -> denoise: (x, t, context) -> x0, the contexts of tokens int32[b k l]).

  Args:
    scale: of guidance, f32[], for a network that is told it.
    variance: whether `denoise` returns the learned one too: sampling.denoiser.
    network_time: of diffusion.Sampling.
  """
  apply = functools.partial(module.apply, {'params': params})
  def denoiser(s=None):
    def predict(x, t, context):
      told = {'guidance': jnp.full(t.shape, scale),
              's': t if s is None else jnp.full(t.shape, s)}
      told = {name: value for name, value in told.items() if name in module.scalars}
      at = network_time(t) if network_time else t
      return apply(x, Scalars(at, **told), context, method='predict')
    return sampling.denoiser(process.precondition(predict), process, variance)
  contexts = [apply(tokens[:, i], sizes, method='encode')
              for i in range(tokens.shape[1])]
  return denoiser, contexts


def autoencoder_fns(module, params):
  """(pictures -> latents, latents -> pictures) of a model's autoencoder."""
  apply = functools.partial(module.apply, {'params': params})
  return (functools.partial(apply, method='to_latents'),
          functools.partial(apply, method='to_pixels'))


def latent_mask(mask, latent_shape):
  """A mask f32[b h w 1] by latents [b h' w' 1]: 1 where any of their pixels is."""
  (h, w), f = latent_shape[:2], mask.shape[1] // latent_shape[0]
  return mask.reshape(len(mask), h, f, w, f, 1).max((2, 4))


def to_uint8(x):
  """[-1, 1] -> 0 to 255, rounded."""
  return jnp.round(jnp.clip(x * 127.5 + 127.5, 0, 255)).astype(jnp.uint8)


def check(module, c):
  """Raises ValueError where a config's `sample` cannot be drawn with."""
  size, length = base.height_width(c.data.size), c.tokenizer.length
  row = jax.ShapeDtypeStruct
  control = row((1, *size, c.data.channels), jnp.float32)
  request = Request(row((1, 2, length), jnp.int32), row((1, 1), jnp.float32),
                    row((1, 6), jnp.float32), control=(
                        control if 'control' in module.backbone.needs else None))
  params = {'main': models.param_shapes(module, size, length)}
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
  jax.eval_shape(build_sampler(module, c, size), params, request, keys,
                 row((), jnp.float32))
