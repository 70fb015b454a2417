"""From a run and tokens to pictures: what sample.py, evaluate.py and train.py share."""
import functools
import math
import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np

import cli
from configs import base
import models
from data import tokenizers
from diffusion import editing, grids, guidance, process, sampling, schedule, solvers
from models import layers
from training import checkpoint, loss as losses, mesh as meshes, specs, weights

RANDOM = ('adaptive', 'ddpm', 'dpmpp_2m_sde', 'edm', 'euler_ancestral', 'lcm')
INIT, NOISE = 2**32 - 1, 2**32 - 2  # folded into the seed; training steps are below
PART = re.compile(r'(.*?)(?::(-?\d+(?:\.\d+)?))?')  # of a prompt, and its weight
FILLS = {  # options -> those of editing.resampling, or None for no resampling
    'blend': lambda: None,
    'repaint': lambda jump=10, repeats=10: dict(jump=jump, repeats=repeats)}
fold_all = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))


def build_model(c, vocab: int):
  model = models.build(c.model, c.condition, c.autoencoder, vocab=vocab,
                       length=c.tokenizer.length, size=c.data.size)
  if c.diffusion.learned_weight:
    model = model.clone(uncertainty=layers.Uncertainty())
  return model


def init_params(model, c, key):
  """Fresh parameters. Slow unless it is compiled."""
  size = c.data.size
  return model.init(key, jnp.zeros((1, size, size, 3)), jnp.zeros(1),
                    jnp.ones((1, c.tokenizer.length), jnp.int32))['params']


def shapes_of(model, c):
  """Shapes of the parameters, without making them."""
  return jax.eval_shape(lambda key: init_params(model, c, key), jax.random.key(0))


class Run(NamedTuple):
  """A trained model: config, tokenizer, module, averaged parameters, their origin."""
  c: Any
  tokenizer: Any
  model: Any
  params: Any
  source: str


def load(workdir: str, mesh, flag: str = 'workdir') -> Run:
  """The run of a workdir, of its newest checkpoint or its exported weights."""
  c = cli.workdir_config(workdir, flag)
  with cli.mistakes():
    tokenizer = tokenizers.load(os.path.join(workdir, 'tokenizer.json'))
    model = build_model(c, tokenizer.get_vocab_size())
  shapes = shapes_of(model, c)
  whole = meshes.replicated(mesh)
  path = os.path.join(workdir, weights.FILE)
  if os.path.exists(path):
    with cli.mistakes():
      params = jax.device_put(weights.load(path, shapes), whole)
    return Run(c, tokenizer, model, params, weights.FILE)
  if not os.path.isdir(os.path.join(workdir, 'checkpoints')):
    raise cli.Mistake(f'--{flag}={workdir}: the run has no checkpoint yet.')
  found = checkpoint.Checkpoints(workdir, read_only=True, say=cli.note).restore_ema(
      averages_of(c, shapes, whole))
  if found is None:
    raise cli.Mistake(f'--{flag}={workdir}: no checkpoint in it can be read.')
  return Run(c, tokenizer, model, found[1][0], f'checkpoint {found[0]}')


def public_config(folder: str):
  """The config of a public pipeline, a folder as diffusers saves it.

  bfloat16 but on a CPU. Raises Mistake for a folder that is none, or has odd parts.
  """
  from interop import pipelines  # an edge: all else does without it
  with cli.mistakes():
    parts = pipelines.read(folder)
  c = base.get_config()
  for name in ('model', 'condition', 'autoencoder'):
    c[name] = ConfigDict(parts[name])
  for name in ('data', 'diffusion', 'sample', 'tokenizer'):
    c[name].update(parts[name])
  c.model.dtype = 'float32' if jax.default_backend() == 'cpu' else 'bfloat16'
  c.sample.update(dict(clip='none', batch=4))
  c.weights = parts['weights']
  return c


def load_public(c, mesh) -> Run:
  """The model and weights of a public_config."""
  from interop import weights as public
  params = {}
  with cli.mistakes():
    tokenizer = tokenizers.public(c.tokenizer.files)
    model = build_model(c, tokenizer.get_vocab_size())
    shapes = shapes_of(model, c)
    for part, place in c.weights:
      *above, last = part.split('/')
      at = functools.reduce(lambda tree, name: tree.setdefault(name, {}), above, params)
      at[last] = public.load(place, weights.part_of(shapes, part))
  return Run(c, tokenizer, model, jax.device_put(params, meshes.replicated(mesh)),
             'public weights')


def averages_of(c, shapes, sharding):
  """Shapes of a run's averages, and where they go when they are restored."""
  placed = jax.tree.map(
      lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=sharding), shapes)
  return (placed,) * len(c.optim.ema)


def network(c, model, params, tokens, variance: bool):
  """(denoise: (x, t, context) -> x0, k contexts of tokens int32[b k l]).

  variance: whether `denoise` returns the learned one too: sampling.denoiser.
  """
  noise, row, fitted = losses.process_of(c.diffusion)
  apply = functools.partial(model.apply, {'params': params})
  def predict(x, t, context):
    return apply(x, t, context, method='predict')
  contexts = [apply(tokens[:, i], method='encode') for i in range(tokens.shape[1])]
  return sampling.denoiser(fitted(predict), noise, row, variance), contexts


def guidance_of(c, model, weak, params, request):
  """The denoiser that a config's `sample` and a request (see make_sampler) describe."""
  noise, row, _ = losses.process_of(c.diffusion)
  s, variance = c.sample, variance_of(c, model)
  def prompts_of(c, model, name, tokens, variance=False):
    denoise, (null, *contexts) = network(
        c, model, params[name], request[tokens], variance)
    return guidance.prompts(denoise, contexts, request['weights'], null)
  pair, alone = prompts_of(c, model, 'strong', 'tokens', variance)
  if weak:
    pair, alone = guidance.networks(alone, prompts_of(*weak, 'weak', 'weak_tokens')[1])
  rule = specs.make(guidance.RULES, s.rule, 'sample.rule',
                    *([noise] if s.rule.startswith('zero_star') else []))
  if s.rescale:
    rule = guidance.rescaled(rule, noise, row, s.rescale)
  over_time = specs.make(guidance.OVER_TIME, s.over_time, 'sample.over_time')
  denoise = (guidance.unguided(alone) if s.guidance == 1 else guidance.guided(
      pair, alone, rule, request['scale'], over_time, tuple(s.interval)))
  return guidance.clipped(denoise, specs.make(guidance.CLIPS, s.clip, 'sample.clip'))


def variance_of(c, model) -> bool:
  """Whether a config's `sample` draws with a learned variance.

  Raises ValueError where the network has none.
  """
  learned = specs.option(c.sample.solver, 'variance') == 'learned'
  if learned:
    losses.check_variance(model, f'config.sample.solver is {c.sample.solver!r}')
  return learned


def time_grid(c, strength: float = 1.0):
  """The times of a config's `sample`, f32[n + 1] from noise to 0."""
  noise, _, _ = losses.process_of(c.diffusion)
  name, options = specs.read(grids.GRIDS, c.sample.grid, 'sample.grid')
  last = schedule.last_time(noise, c.diffusion.target)
  return editing.part(
      grids.make(name, noise, c.sample.steps, last, **options), strength)


def solver_of(c, noise):
  """(solver of a config's `sample`, whether it is `adaptive`, which is none)."""
  name, _ = specs.read(METHODS, c.sample.solver, 'sample.solver')
  method = specs.make(METHODS, c.sample.solver, 'sample.solver', noise)
  return method, name == 'adaptive'


def adaptive_solver(noise, rtol: float = 0.05, atol: float = 0.0078, most: int = 301):
  """(denoise, x, times) -> x0; times fix only where it starts and ends."""
  def solve(denoise, x, times):
    start = jnp.minimum(times[0], 0.999)  # where alpha is 0 it has no clock
    return solvers.adaptive(denoise, noise, x, start, times[-2], rtol=rtol, atol=atol,
                            most=most)[0]
  return solve


METHODS = solvers.SOLVERS | {'adaptive': adaptive_solver}


def make_sampler(model, c, *, film: bool = False, weak=None, strength: float = 1.0,
                 fill: str = 'blend'):
  """One compiled program from tokens to pictures.

  Args:
    c: config, of which `diffusion`, `sample` and `data.size` count.
    film: also return the way there.
    weak: (config, model) of the network to move away from, instead of the empty prompt.
    strength: where there is a picture to start from, how much noise it gets, to 1.
    fill: 'blend' or 'repaint(jump=10, repeats=10)', where there is a mask.

  Returns:
    (params, request) -> uint8 [b h w 3]; with `film` also uint8 [steps b h w 3].
    params: {'strong': of `model`, 'weak': of the weak one, if any}. request: {'tokens':
    int32[b 1+k l], the negative prompt and the parts of the prompt; 'weights': f32[b k]
    of the parts; 'keys': [b]; 'scale': f32[]} and, as needed, 'weak_tokens', like
    'tokens'; 'image': f32[b h w 3] to start from; 'mask': f32[b h w 1] to paint it anew
    only where it is 1; 'noise': f32[b *latent_shape] instead of that of the keys.
  """
  noise, _, _ = losses.process_of(c.diffusion)
  if c.autoencoder.name != 'none' and c.sample.clip != 'none':
    raise ValueError(f'config.sample.clip is {c.sample.clip!r}, which bounds pixels; '
                     "latents have no bound: 'none'.")
  method, adaptive = solver_of(c, noise)
  if adaptive and (film or not c.sample.rule.startswith(('cfg', 'zero_star'))):
    raise ValueError("config.sample.solver is 'adaptive', whose steps differ from "
                     'picture to picture: it takes no film and no rule that remembers.')
  times, shape = time_grid(c, strength), model.latent_shape(c.data.size)
  repaint = specs.make(FILLS, fill, 'fill')

  def draw(params, request):
    keys, solver, way = request['keys'], method, times
    to_latents, to_pixels = coder(model, params['strong'])
    eps = request.get('noise', sampling.initial_noise(keys, shape))
    x = sampling.prior(noise, times[0], eps)
    if 'image' in request:
      image = to_latents(request['image'])
      if strength < 1:
        x = process.add_noise(image, eps, *noise(times[0]))
    if 'mask' in request:
      mask = covered(request['mask'], shape[0])
      if repaint:
        way = editing.resampling(times, **repaint)
        solver = editing.repainted(method, noise, image, mask)
      else:
        solver = editing.blended(method, noise, image, mask, eps)
    given = guidance_of(c, model, weak, params, request)
    if adaptive:
      x = method(lambda x, t: given.denoise(x, t, ())[0], x, times)
      return to_uint8(to_pixels(x))
    x = sampling.sample(given.denoise, solver, x, way, keys, film, given.memory(x))
    if not film:
      return to_uint8(to_pixels(x))
    x, seen = x
    return to_uint8(to_pixels(x)), jax.lax.map(lambda z: to_uint8(to_pixels(z)), seen)

  return jax.jit(draw)


def coder(model, params):
  """(pictures -> latents, latents -> pictures) of a model's autoencoder."""
  apply = functools.partial(model.apply, {'params': params})
  return (functools.partial(apply, method='to_latents'),
          functools.partial(apply, method='to_pixels'))


def covered(mask, side: int):
  """A mask f32[b h w 1] by latents [b side side 1]: 1 where any of their pixels is."""
  f = mask.shape[1] // side
  return mask.reshape(len(mask), side, f, side, f, 1).max((2, 4))


def to_uint8(x):
  """[-1, 1] -> 0 to 255, rounded."""
  return jnp.round(jnp.clip(x * 127.5 + 127.5, 0, 255)).astype(jnp.uint8)


def check_choices(c):
  """Raises Mistake for a choice of a config's `sample` that is none; builds nothing."""
  tables = {'solver': METHODS, 'grid': grids.GRIDS, 'rule': guidance.RULES,
            'over_time': guidance.OVER_TIME, 'clip': guidance.CLIPS}
  with cli.mistakes():
    for key, table in tables.items():
      specs.read(table, c.sample[key], f'sample.{key}')


def check_sampler(model, c):
  """Raises ValueError where a config's `sample` cannot be drawn with."""
  length = c.tokenizer.length
  request = {'tokens': jax.ShapeDtypeStruct((1, 2, length), jnp.int32),
             'weights': jax.ShapeDtypeStruct((1, 1), jnp.float32),
             'keys': jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1)),
             'scale': jax.ShapeDtypeStruct((), jnp.float32)}
  jax.eval_shape(make_sampler(model, c), {'strong': shapes_of(model, c)}, request)


def plain(c):
  """A config whose denoiser is the network's own x0: not guided, nothing clipped."""
  c = c.copy_and_resolve_references()
  c.sample.update(dict(guidance=1.0, clip='none', solver='ddim'))
  return c


def noise_of(seed: int, picture, shape):
  """The noise from which those pictures of a prompt start, f32[m *shape]."""
  return sampling.initial_noise(keys_of(seed, picture), shape)


def keys_of(seed: int, picture):
  """A key for each picture, by its number among those of its prompt."""
  root = jax.random.fold_in(jax.random.key(seed), NOISE)
  return fold_all(root, picture)


def invert(run: Run, request: dict):
  """The noise that leads to a picture, and how well it does: DDIM inversion's idea.

  Args:
    request: 'tokens', 'weights', 'image', each of one picture.

  Returns:
    (noise f32[1 *latent_shape], root mean square difference of the picture that it
    leads to by the same solver, of a range of 2).
  """
  c = run.c
  noise, _, _ = losses.process_of(c.diffusion)
  if c.sample.solver.startswith(RANDOM) or specs.option(c.sample.solver, 'eta'):
    raise ValueError(f'--invert takes a solver without chance and with given steps, '
                     f'such as heun or ddim, not {c.sample.solver!r}.')
  solver, down = solver_of(c, noise)[0], time_grid(c)
  keys = keys_of(0, np.zeros(1, int))
  def there_and_back(params, request):
    given = guidance_of(plain(c), run.model, None, params, request)
    to_latents, to_pixels = coder(run.model, params['strong'])
    def follow(x, times):
      return sampling.sample(given.denoise, solver, x, times, keys, memory=())
    x = follow(to_latents(request['image']), editing.upward(down))
    error = jnp.sqrt(jnp.mean((to_pixels(follow(x, down)) - request['image']) ** 2))
    return x / jnp.hypot(*noise(down[0])), error
  x, error = jax.jit(there_and_back)({'strong': run.params}, request)
  return np.asarray(x), float(error)


def draw_all(sampler, params, mesh, request, picture, *, seed: int, scale: float,
             batch: int, film: bool = False):
  """Answers a request of m pictures, `batch` at a time, over a mesh.

  Args:
    sampler: of make_sampler.
    params: its params, on the devices of the mesh.
    request: its request without 'keys' and 'scale', of arrays [m ...].
    picture: int[m], the number of each picture among those of its prompt: with the
      seed it fixes the noise.

  Returns:
    uint8 [m h w 3]; with `film` also [steps m h w 3].
  """
  n, m = meshes.shares(mesh), len(picture)
  batch = math.ceil(min(batch, m) / n) * n
  parts, ways, progress = [], [], cli.Progress(m, 'pictures')
  for i in range(0, m, batch):
    at = np.minimum(np.arange(i, i + batch), m - 1)  # the last is filled up
    numbers, some = meshes.spread(
        (np.asarray(picture)[at], {k: v[at] for k, v in request.items()}), mesh)
    out = sampler(params, some | {
        'keys': keys_of(seed, numbers), 'scale': jnp.float32(scale)})
    out, way = out if film else (out, None)
    parts.append(meshes.gather(out))
    ways.append(meshes.gather(way) if film else None)
    if m > batch:
      progress(min(i + batch, m))
  pictures = np.concatenate(parts)[:m]
  if not film:
    return pictures
  return pictures, np.concatenate(ways, 1)[:, :m]


def tokens_of(tokenizer, prompts, length: int) -> np.ndarray:
  """int32[p l]; says of each prompt that is too long how much of it is cut."""
  rows = []
  for prompt in prompts:
    try:
      prompt.encode()
    except UnicodeEncodeError as e:
      raise cli.Mistake(f'the prompt {prompt!r} is not UTF-8 text.') from e
    with cli.mistakes():
      row, cut = tokenizers.encode(tokenizer, prompt, length)
    if cut:
      cli.note(f'the prompt "{prompt[:40]}..." is too long: its last {cut} tokens are '
               f'cut (config.tokenizer.length is {length}).')
    rows.append(row)
  return np.stack(rows)


def parts_of(prompt: str) -> list[tuple[str, float]]:
  """'one:1.5 AND another' -> [('one', 1.5), ('another', 1.0)]; else [(prompt, 1.0)]."""
  parts = prompt.split(' AND ')
  if len(parts) == 1:
    return [(prompt, 1.0)]
  found = [re.fullmatch(PART, part.strip()) for part in parts]
  return [(m[1], float(m[2] or 1)) for m in found]


def request_of(tokenizer, prompts, length: int, num: int = 1, negative: str = ''):
  """'tokens' and 'weights' of num pictures of each prompt, prompt by prompt.

  A prompt with fewer parts than another gets empty ones of weight 0.
  """
  split = [parts_of(prompt) for prompt in prompts]
  k = max(map(len, split))
  split = [parts + [('', 0.0)] * (k - len(parts)) for parts in split]
  texts = [text for parts in split for text in (negative, *(text for text, _ in parts))]
  tokens = tokens_of(tokenizer, texts, length).reshape(len(prompts), 1 + k, length)
  share = np.array([[weight for _, weight in parts] for parts in split], np.float32)
  return {'tokens': tokens.repeat(num, 0), 'weights': share.repeat(num, 0)}


def shape_of(run: Run):
  """(height, width, channels) of what the model of a run draws."""
  return run.model.latent_shape(run.c.data.size)


def weaker(run: Run, weak: Run, prompts, num: int) -> dict:
  """'weak_tokens' of the same prompts. Raises Mistake if it is of another process."""
  ours, theirs = run.c.diffusion.schedule, weak.c.diffusion.schedule
  here, there = shape_of(run), shape_of(weak)
  if (ours, here, run.c.autoencoder) != (theirs, there, weak.c.autoencoder):
    raise cli.Mistake(
        f'--weak was trained with schedule {theirs!r} on {there} of autoencoder '
        f'{weak.c.autoencoder.name!r}, --workdir with {ours!r} on {here} of '
        f'{run.c.autoencoder.name!r}; both, with all their fields, must be alike.')
  request = request_of(weak.tokenizer, prompts, weak.c.tokenizer.length, num)
  return {'weak_tokens': request['tokens']}
