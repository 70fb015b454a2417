r"""Draws pictures of sentences with a trained model.

python sample.py --workdir=runs/shapes --prompt="a red circle left of a blue square" \
    --num=4 --seed=0 --out=out.png

The workdir alone says what the model is. Text is encoded once; the loop is one compiled
scan. --out=NAME.png is one picture or a grid of them, --out=FOLDER/ a file a picture;
--film=NAME.gif shows the way from noise to picture, --destroy=PICTURE the way back.
"""
import functools
import math
import os

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

import cli
import models
from data import images, tokenizers
from diffusion import guidance, process, sampling, schedule, solvers
from training import checkpoint, loss as losses, mesh as meshes, weights

FRAMES = 36        # of a film
INIT, NOISE = 2**32 - 1, 2**32 - 2  # folded into the seed; training steps are below


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_multi_string('prompt', [], 'What to draw; may be given many times.')
  flags.DEFINE_string('prompts', None, 'A UTF-8 file with a prompt a line.')
  flags.DEFINE_string('negative', '', 'What to move away from.')
  flags.DEFINE_integer('num', 1, 'Pictures a prompt.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the noise.', 0, 2**32 - 1)
  flags.DEFINE_integer('steps', None, 'Of the solver; default: config.', lower_bound=1)
  flags.DEFINE_float('guidance', None, '1 is the prompt alone; default: config.')
  flags.DEFINE_string('solver', None, f'One of {sorted(solvers.SOLVERS)}.')
  flags.DEFINE_integer('batch', None, 'Pictures drawn at once.', lower_bound=1)
  flags.DEFINE_string('out', None, 'NAME.png or FOLDER/.')
  flags.DEFINE_string('film', None, 'NAME.gif: the way from noise to picture.')
  flags.DEFINE_string('destroy', None, 'A picture, to be dissolved in --film.')


def build_model(c, vocab: int):
  return models.build(c.model, c.condition, vocab=vocab, length=c.tokenizer.length,
                      size=c.data.size)


def init_params(model, c, key):
  """Fresh parameters. Slow unless it is compiled."""
  size = c.data.size
  return model.init(key, jnp.zeros((1, size, size, 3)), jnp.zeros(1),
                    jnp.ones((1, c.tokenizer.length), jnp.int32))['params']


def shapes_of(model, c):
  """Shapes of the parameters, without making them."""
  return jax.eval_shape(lambda key: init_params(model, c, key), jax.random.key(0))


def load(workdir: str, mesh):
  """(config, tokenizer, model, averaged parameters, where they come from) of a run."""
  c = cli.workdir_config(workdir)
  with cli.mistakes():
    tokenizer = tokenizers.load(os.path.join(workdir, 'tokenizer.json'))
    model = build_model(c, tokenizer.get_vocab_size())
  shapes = shapes_of(model, c)
  whole = meshes.replicated(mesh)
  path = os.path.join(workdir, weights.FILE)
  if os.path.exists(path):
    with cli.mistakes():
      params = jax.device_put(weights.load(path, shapes), whole)
    return c, tokenizer, model, params, weights.FILE
  if not os.path.isdir(os.path.join(workdir, 'checkpoints')):
    raise cli.Mistake(f'--workdir={workdir}: the run has no checkpoint yet.')
  shapes = jax.tree.map(
      lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=whole), shapes)
  found = checkpoint.Checkpoints(workdir, say=cli.note).restore_ema(shapes)
  if found is None:
    raise cli.Mistake(f'--workdir={workdir}: no checkpoint in it can be read.')
  return c, tokenizer, model, found[1], f'checkpoint {found[0]}'


def make_sampler(model, c, *, solver: str, steps: int, guided: bool = True,
                 film: bool = False):
  """One compiled program from tokens to pictures.

  Args:
    c: config, of which `diffusion`, `sample.clip` and `data.size` count.
    guided: evaluate the network without the prompt too; needless at scale 1.

  Returns:
    (params, tokens int32[b l], negative int32[b l], keys [b], scale f32[]) -> uint8
    [b h w 3]; with `film` also the way there, uint8 [steps b h w 3].
  """
  noise = losses.choose(schedule.SCHEDULES, c.diffusion.schedule, 'diffusion.schedule')
  method = losses.choose(solvers.SOLVERS, solver, 'sample.solver')(noise)
  kind, size = c.diffusion.target, c.data.size
  times = sampling.time_grid(steps, schedule.last_time(noise, kind))

  def draw(params, tokens, negative, keys, scale):
    encode = functools.partial(model.apply, {'params': params}, method='encode')
    def predict(x, t, context):
      return model.apply({'params': params}, x, t, context, method='predict')
    denoise = sampling.denoiser(predict, noise, kind)
    context = encode(tokens)
    if guided:
      denoise = guidance.guided(denoise, context, encode(negative), scale)
    else:
      denoise = lambda x, t, alone=denoise: alone(x, t, context)
    if c.sample.clip:
      denoise = guidance.clipped(denoise, c.sample.clip)
    x_T = sampling.initial_noise(keys, (size, size, 3))
    x = sampling.sample(denoise, method, x_T, times, keys, film)
    return jax.tree.map(to_uint8, x)

  return jax.jit(draw)


def to_uint8(x):
  """[-1, 1] -> 0 to 255, rounded."""
  return jnp.round(jnp.clip(x * 127.5 + 127.5, 0, 255)).astype(jnp.uint8)


def draw_all(sampler, params, mesh, rows, negative, picture, *, seed: int, scale: float,
             batch: int, film: bool = False):
  """Draws a picture for each row of tokens, `batch` at a time, over a mesh.

  Args:
    sampler: of make_sampler.
    params: on the devices of the mesh.
    rows: int32[m l], a row of tokens for each picture.
    negative: int32[l].
    picture: int[m], the number of each picture among those of its prompt: with the
      seed it fixes the noise.

  Returns:
    uint8 [m h w 3]; with `film` also [steps m h w 3].
  """
  n = meshes.shares(mesh)
  batch = math.ceil(min(batch, len(rows)) / n) * n
  make_keys = jax.jit(jax.vmap(jax.random.fold_in, (None, 0)))
  root = jax.random.fold_in(jax.random.key(seed), NOISE)
  parts, ways, progress = [], [], cli.Progress(len(rows), 'pictures')
  for i in range(0, len(rows), batch):
    at = np.minimum(np.arange(i, i + batch), len(rows) - 1)  # the last is filled up
    tokens, numbers, against = meshes.spread(
        (rows[at], np.asarray(picture)[at], np.tile(negative, (batch, 1))), mesh)
    keys = make_keys(root, numbers)
    out = sampler(params, tokens, against, keys, jnp.float32(scale))
    out, way = out if film else (out, None)
    parts.append(meshes.gather(out))
    ways.append(meshes.gather(way) if film else None)
    if len(rows) > batch:
      progress(min(i + batch, len(rows)))
  pictures = np.concatenate(parts)[:len(rows)]
  if not film:
    return pictures
  return pictures, np.concatenate(ways, 1)[:, :len(rows)]


def read_prompts(given: list[str], path: str | None) -> list[str]:
  """Prompts of the flags and of a file, in this order."""
  prompts = list(given)
  if path:
    with cli.mistakes():
      try:
        with open(path, encoding='utf-8-sig') as f:
          lines = [line.strip() for line in f]
      except UnicodeDecodeError as e:
        raise ValueError(f'--prompts={path} is not UTF-8 text: {e}') from e
    lines = [line for line in lines if line]
    if not lines:
      raise cli.Mistake(f'--prompts={path} has no prompt; it takes one a line.')
    prompts += lines
  if not prompts:
    raise cli.Mistake('--prompt="..." is needed, or --prompts=FILE.')
  return prompts


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


def check_out(path: str):
  """Raises Mistake unless --out is a PNG to be, or a folder that is there or can be."""
  if path.endswith('.png'):
    check_file(path, 'out', '.png')
  elif not path.endswith('/') and not os.path.isdir(path):
    raise cli.Mistake(f'--out={path} is neither NAME.png nor a folder; one that is to '
                      'be made ends in a slash.')
  elif not os.path.isdir(os.path.dirname(os.path.abspath(path))):
    raise cli.Mistake(f'--out={path}: there is no folder around it.')


def check_file(path: str, flag: str, ending: str):
  """Raises Mistake unless a file `path` can be written."""
  folder = os.path.dirname(path) or '.'
  if not path.endswith(ending):
    raise cli.Mistake(f'--{flag}={path}: a name that ends in {ending} is needed.')
  if not os.path.isdir(folder):
    raise cli.Mistake(f'--{flag}={path}: there is no folder {folder!r}.')


def write_pictures(out: str, pictures, prompts, num: int, notes: dict):
  """Writes a picture, a grid or a folder of pictures, with notes; prints the path.

  The grid of several prompts has a captioned row for each.
  """
  if out.endswith('.png'):
    if len(pictures) == 1:
      picture = pictures[0]
    elif len(prompts) == 1:
      picture = images.grid(pictures, math.ceil(math.sqrt(num)))
    else:
      picture = images.captioned(pictures, prompts, num)
    with cli.whole(out) as new:
      images.write_png(new, picture, notes | {'prompt': '\n'.join(prompts)})
  else:
    os.makedirs(out, exist_ok=True)
    for i, picture in enumerate(pictures):
      with cli.whole(os.path.join(out, f'{i:04}.png')) as new:
        images.write_png(new, picture, notes | {
            'prompt': prompts[i // num], 'picture': str(i % num)})
  print(out)


def destroy(c, path: str, seed: int) -> np.ndarray:
  """A picture dissolving into noise by the run's schedule, uint8 [FRAMES h w 3]."""
  with cli.mistakes():
    picture = images.read(path, c.data.size)
    noise = losses.choose(
        schedule.SCHEDULES, c.diffusion.schedule, 'diffusion.schedule')
  x0 = jnp.asarray(picture, jnp.float32) / 127.5 - 1
  eps = jax.random.normal(jax.random.key(seed), x0.shape)
  def at(t):
    return to_uint8(process.add_noise(x0, eps, *noise(t)))
  return np.asarray(jax.lax.map(at, jnp.linspace(0, 1, FRAMES)))


def film_of(way: np.ndarray, columns: int) -> np.ndarray:
  """[steps m h w 3] -> about FRAMES grids, the last of them the picture."""
  at = np.unique(np.linspace(0, len(way) - 1, FRAMES).round().astype(int))
  return np.stack([images.grid(way[i], columns) for i in at])


def write_film(path: str, frames: np.ndarray):
  """Writes uint8 [n h w 3], small ones enlarged; prints the path."""
  zoom = max(1, 192 // frames.shape[1])
  with cli.whole(path) as new:
    images.write_gif(new, frames.repeat(zoom, 1).repeat(zoom, 2))
  print(path)


def main(flag):
  if flag.film:
    check_file(flag.film, 'film', '.gif')
  if flag.destroy:
    if flag.prompt or flag.prompts or flag.out:
      raise cli.Mistake('--destroy=PICTURE takes no prompt and no --out, only --film.')
    if not flag.film:
      raise cli.Mistake('--destroy=PICTURE needs --film=NAME.gif to write.')
    c = cli.workdir_config(flag.workdir)
    return write_film(flag.film, destroy(c, flag.destroy, flag.seed))

  prompts = read_prompts(flag.prompt, flag.prompts)
  if not flag.out and not flag.film:
    raise cli.Mistake('--out=NAME.png is needed, or --out=FOLDER/.')
  if flag.out:
    check_out(flag.out)
  mesh = meshes.make()
  c, tokenizer, model, params, source = load(flag.workdir, mesh)
  steps = flag.steps or c.sample.steps
  solver = flag.solver or c.sample.solver
  scale = c.sample.guidance if flag.guidance is None else flag.guidance
  if flag.negative and scale == 1:
    raise cli.Mistake('--negative has no effect at --guidance=1; give more than 1.')
  with cli.mistakes():
    sampler = make_sampler(model, c, solver=solver, steps=steps, guided=scale != 1,
                           film=bool(flag.film))
  rows = tokens_of(tokenizer, prompts, c.tokenizer.length).repeat(flag.num, 0)
  negative = tokens_of(tokenizer, [flag.negative], c.tokenizer.length)[0]
  drawn = draw_all(sampler, params, mesh, rows, negative,
                   np.tile(np.arange(flag.num), len(prompts)), seed=flag.seed,
                   scale=scale, batch=flag.batch or c.sample.batch,
                   film=bool(flag.film))
  pictures, way = drawn if flag.film else (drawn, None)
  if flag.out:
    write_pictures(flag.out, pictures, prompts, flag.num, {
        'seed': str(flag.seed), 'steps': str(steps), 'solver': solver,
        'guidance': str(scale), 'negative': flag.negative,
        'weights': f'{os.path.basename(os.path.abspath(flag.workdir))}, {source}'})
  if flag.film:
    write_film(flag.film, film_of(way, math.ceil(math.sqrt(len(pictures)))))


if __name__ == '__main__':
  cli.run(main, define_flags)
