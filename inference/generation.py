"""Pictures of prompts, over a mesh of devices, a batch at a time."""
import json
import math

import jax
import jax.numpy as jnp
import numpy as np

from configs import validation
import diffusion
from diffusion import sampling
from inference.loading import Model
from inference.requests import Request, build_request
from inference.sampler import build_sampler
from training import sharding

NOISE = 2**32 - 2  # folded into the seed, after training.build.INIT
REQUESTED = ('batch', 'num', 'prompts')  # of config.sample, but in no program


@jax.jit
def fold_all(seed, index):
  """Keys [m] of a seed uint32[] and indices int[m]: in one program, not in four."""
  root = jax.random.fold_in(jax.random.key(seed), NOISE)
  return jax.vmap(jax.random.fold_in, (None, 0))(root, index)


def generate(model: Model, prompts, *, num: int = 1, seed: int = 0,
             negative: str | None = None, noise=None, height: int | None = None,
             width: int | None = None, progress=None, **settings) -> np.ndarray:
  """Draws pictures: uint8 [m h w c], num of each prompt, prompt by prompt.

  Args:
    model: of inference.load.
    prompts: a list of str.
    num: pictures a prompt. Picture i of a prompt and seed is the same in any batch, on
      any number of devices, up to rounding.
    negative: what guidance moves away from; None is no prompt, which Stable Diffusion
      XL tells from the empty one.
    noise: f32[m *latent_shape], in place of the seed's.
    height, width: in pixels; None for those that the model was trained on.
    progress: None, or called with the number of pictures that are done.
    settings: keys of config.sample, such as steps=20, guidance=4.0, solver='ddim'.

  Raises:
    ValueError: a setting or a prompt that makes no sense, by name.
  """
  if isinstance(prompts, str) or not prompts:
    raise ValueError(f'prompts is {prompts!r}; it must be a list of prompts.')
  c = with_settings(model.config, settings)
  size = height or model.size[0], width or model.size[1]
  request = build_request(model.tokenizer, prompts, c.tokenizer.length, size, num=num,
                          negative=negative)
  if noise is not None:
    request = request.replace(noise=np.asarray(noise, np.float32))
  index = np.tile(np.arange(num), len(prompts))
  return sample_request(model.replace(config=c), request, index, seed=seed, size=size,
                        progress=progress)


def with_settings(c, settings: dict):
  """A config whose `sample` has other values. Raises ValueError for what is no key."""
  c = c.copy_and_resolve_references()
  for key, value in settings.items():
    if key not in c.sample:
      raise ValueError(f'{key!r} is no setting; settings are {sorted(c.sample)}.')
    try:
      c.sample[key] = value
    except TypeError as e:
      raise ValueError(f'config.sample.{key} is {value!r}: {e}') from e
  validation.check(c)
  return c


def sample_request(model: Model, request: Request, index, *, seed: int, size=None,
                   film: bool = False, weak: Model | None = None, strength: float = 1.0,
                   fill: str | None = None, watch=None, progress=None):
  """Answers a request of m pictures, config.sample.batch at a time, over a mesh.

  Args:
    index: int[m], of each picture among those of its prompt: with the seed it fixes the
      noise.
    size: (height, width); None for that of the model.
    film, strength, fill, watch: of sampler.build_sampler; a program is compiled for
      each `watch`, which has been told all of a batch before the next one is begun.
    weak: the model to move away from; request.weak_tokens are its.

  Returns:
    uint8 [m h w c]; with `film` also [steps m h w c].
  """
  size = tuple(size or model.size)
  sampler = sampler_of(model, size, film=film, weak=weak, strength=strength, fill=fill,
                       watch=watch)
  params = {'main': model.params} | ({'weak': weak.params} if weak else {})
  n, m, mesh = sharding.batch_shards(model.mesh), len(index), model.mesh
  batch = math.ceil(min(model.config.sample.batch, m) / n) * n
  scale, parts, ways = jnp.float32(model.config.sample.guidance), [], []
  for i in range(0, m, batch):
    at = np.minimum(np.arange(i, i + batch), m - 1)  # the last is filled up
    numbers, some = sharding.shard_replicated(jax.tree.map(
        lambda x, at=at: np.asarray(x)[at], (index, request)), mesh)
    out = sampler(params, some, keys_of(seed, numbers), scale)
    out, way = out if film else (out, None)
    parts.append(sharding.gather(out))
    ways.append(sharding.gather(way) if film else None)
    if watch:
      jax.effects_barrier()
    if progress and m > batch:
      progress(min(i + batch, m))
  pictures = np.concatenate(parts)[:m]
  if not film:
    return pictures
  return pictures, np.concatenate(ways, 1)[:, :m]


def sampler_of(model: Model, size, *, weak: Model | None = None, watch=None, **how):
  """The compiled sampler of a model and a size, made once for the same settings."""
  c = model.config
  diffusion.check_sampling(c.sample)
  settings = c.sample.to_dict() | {'guidance': c.sample.guidance == 1}
  settings = {k: v for k, v in settings.items() if k not in REQUESTED}
  key = watch, json.dumps([size, settings, how, weak and weak.config.to_json()],
                          sort_keys=True)
  if key not in model.programs:
    model.programs[key] = build_sampler(
        model.module, c, size, mesh=model.mesh,
        weak=weak and (weak.config, weak.module), watch=watch, **how)
  return model.programs[key]


def noise_of(seed: int, index, shape):
  """The noise from which those pictures of a prompt start, f32[m *shape]."""
  return sampling.initial_noise(keys_of(seed, index), shape)


def keys_of(seed: int, index):
  """A key for each picture, by its index among those of its prompt."""
  return fold_all(np.uint32(seed), index)
