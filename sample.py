r"""Draws pictures of sentences with a trained model, and edits pictures with it.

python sample.py --workdir=runs/shapes --prompt="a red circle left of a blue square" \
    --num=4 --seed=0 --out=out.png

The workdir alone says what the model is; --weights=FOLDER takes a public pipeline in
its place, as diffusers saves it: Stable Diffusion 1, 2, XL, 3, PixArt-alpha. Text is
encoded once; the loop is one compiled scan. --out=NAME.png is one picture or a grid of
them, --out=FOLDER/ a file a picture; --film=NAME.gif shows the way from noise to
picture, --destroy=PICTURE the way back.

--image=PICTURE starts from a picture: with --strength how far it may go, with
--mask=PICTURE painted anew only where that is white, with --invert=CAPTION from the
very noise that leads to it. --interpolate=N goes from the first prompt and seed to the
last. Every key of config.sample can be given: --sample.grid=karras, --sample.rule=apg.
"""
import math
import os

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

import cli
from data import images
import drawing
from diffusion import editing, process
from training import loss as losses, mesh as meshes

FRAMES = 36           # of a film
INVERTING = 'heun'    # solver of --invert, unless --solver says another
SETTINGS = ('steps', 'solver', 'grid', 'guidance', 'rule', 'rescale', 'over_time',
            'interval', 'clip')  # of config.sample, noted in each picture


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('weights', None, 'Folder of a public pipeline, in its place.')
  flags.DEFINE_multi_string('prompt', [], 'What to draw; may be given many times. '
                            '"one:1.5 AND another" adds up weighted prompts.')
  flags.DEFINE_string('prompts', None, 'A UTF-8 file with a prompt a line.')
  flags.DEFINE_string('negative', '', 'What to move away from.')
  flags.DEFINE_integer('num', 1, 'Pictures a prompt.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the noise.', 0, 2**32 - 1)
  flags.DEFINE_string('out', None, 'NAME.png or FOLDER/.')
  flags.DEFINE_string('film', None, 'NAME.gif: the way from noise to picture.')
  flags.DEFINE_string('destroy', None, 'A picture, to be dissolved in --film.')
  flags.DEFINE_string('image', None, 'A picture to start from.')
  flags.DEFINE_float('strength', 1.0, 'How much noise --image gets, in (0, 1].')
  flags.DEFINE_string('mask', None, 'A picture: where it is white, paint anew.')
  flags.DEFINE_string('fill', 'blend', 'How to paint in --mask: blend, repaint.')
  flags.DEFINE_string('invert', None, 'The caption of --image, whose noise is sought.')
  flags.DEFINE_integer('interpolate', None, 'Pictures on the way from the first prompt '
                       'and seed to the last.', lower_bound=2)
  flags.DEFINE_integer('to_seed', None, 'The last seed of --interpolate.', 0, 2**32 - 1)
  flags.DEFINE_string('weak', None, 'Workdir of a weaker run, for autoguidance.')
  cli.define_sample_flags()


def check_editing(flag):
  """Raises Mistake for flags of editing that lack another or contradict each other."""
  for name in ('mask', 'invert'):
    if flag[name].value and not flag.image:
      raise cli.Mistake(f'--{name} needs --image=PICTURE.')
  if not 0 < flag.strength <= 1:
    raise cli.Mistake(f'--strength is {flag.strength}; it must be above 0, to 1.')
  if flag.strength < 1 and (not flag.image or flag.invert):
    raise cli.Mistake('--strength is for --image without --invert.')
  if flag.image and not flag.mask and not flag.invert and flag.strength == 1:
    raise cli.Mistake('--image needs --strength below 1, --mask or --invert: all of it '
                      'would be lost in noise.')
  if flag.fill != 'blend' and not flag.mask:
    raise cli.Mistake('--fill is for --mask.')
  if flag.weak and flag.interpolate:
    raise cli.Mistake('--weak is not for --interpolate.')
  if flag.mask and flag.invert:
    raise cli.Mistake('--mask and --invert are two ways; give one of them.')
  if flag.interpolate and len(flag.prompt) == 1 and flag.to_seed is None:
    raise cli.Mistake('--interpolate needs a second --prompt or --to_seed.')
  if flag.interpolate and (flag.image or len(flag.prompt) > 2 or flag.prompts):
    raise cli.Mistake('--interpolate takes one or two --prompt, and no --image.')
  if flag.to_seed is not None and not flag.interpolate:
    raise cli.Mistake('--to_seed is for --interpolate.')


def config_of(flag):
  """The config of what is drawn with. Raises Mistake for none, or two."""
  if flag.weights and flag.workdir:
    raise cli.Mistake('--workdir and --weights are two models; give one of them.')
  if flag.weights:
    return drawing.public_config(flag.weights)
  return cli.workdir_config(flag.workdir)


def check_guidance(flag, c):
  """Raises Mistake for flags that have no effect with this config.sample."""
  for name in ('negative', 'weak'):
    if flag[name].value and c.sample.guidance == 1:
      raise cli.Mistake(f'--{name} has no effect at --guidance=1; give more than 1.')
  if flag.mask and c.sample.solver.startswith('adaptive'):
    raise cli.Mistake('--mask needs a solver with steps; adaptive has none.')
  if flag.negative and flag.weak:
    raise cli.Mistake('--negative has no effect with --weak, which takes its place.')


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
  x0 = read_image(path, c.data.size)
  with cli.mistakes():
    noise, _, _ = losses.process_of(c.diffusion)
  eps = jax.random.normal(jax.random.key(seed), x0.shape)
  def at(t):
    return drawing.to_uint8(process.add_noise(x0, eps, *noise(t)))
  return np.asarray(jax.lax.map(at, jnp.linspace(0, 1, FRAMES)))


def read_image(path: str, size: int):
  """A picture as f32[size size 3] in [-1, 1]."""
  with cli.mistakes():
    return images.read(path, size).astype(np.float32) / 127.5 - 1


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


def pictures_of(flag, size: int) -> dict:
  """Those that the flags of editing name: 'image' and 'mask', f32[size size .]."""
  found = {}
  if flag.image:
    found['image'] = read_image(flag.image, size)
  if flag.mask:
    mask = read_image(flag.mask, size).mean(-1, keepdims=True) > 0
    found['mask'] = mask.astype(np.float32)
  return found


def editing_of(flag, run, given: dict, m: int) -> dict:
  """What the flags of editing add to a request of m pictures. given: of pictures_of."""
  out = {name: picture[None].repeat(m, 0) for name, picture in given.items()}
  if flag.invert:
    caption = drawing.request_of(run.tokenizer, [flag.invert], run.c.tokenizer.length)
    with cli.mistakes():
      noise, error = drawing.invert(run, caption | {'image': out.pop('image')[:1]})
    cli.note(f'the noise of --image leads back to it within {error:.2g} (root mean '
             'square, of a range of 2).')
    out['noise'] = noise.repeat(m, 0)
  return out


def interpolation(flag, shape, request) -> dict:
  """A request of `num` rows of pictures on the way from the first to the last.

  Prompts are mixed by weight, the noise [*shape] along a sphere.
  """
  n, num = flag.interpolate, flag.num
  share = np.tile(np.linspace(0, 1, n, dtype=np.float32), num)  # [num n]
  picture = np.arange(num).repeat(n)
  ends = [drawing.noise_of(seed, picture, shape) for seed in (
      flag.seed, flag.seed if flag.to_seed is None else flag.to_seed)]
  first, last = request['tokens'][0], request['tokens'][-1]  # [1+k l]
  weights = np.concatenate([(1 - share)[:, None] * request['weights'][:1],
                            share[:, None] * request['weights'][-1:]], 1)
  tokens = np.concatenate([first, last[1:]])[None].repeat(len(share), 0)
  return {'tokens': tokens, 'weights': weights, 'picture': picture,
          'noise': np.asarray(jax.vmap(editing.between)(*ends, share))}


def main(flag):
  if flag.film:
    check_file(flag.film, 'film', '.gif')
  if flag.destroy:
    if flag.prompt or flag.prompts or flag.out:
      raise cli.Mistake('--destroy=PICTURE takes no prompt and no --out, only --film.')
    for name in ('image', 'mask', 'invert', 'interpolate', 'weak', 'negative'):
      if flag[name].value:
        raise cli.Mistake(f'--{name} has no effect with --destroy=PICTURE.')
    if not flag.film:
      raise cli.Mistake('--destroy=PICTURE needs --film=NAME.gif to write.')
    c = config_of(flag)
    return write_film(flag.film, destroy(c, flag.destroy, flag.seed))

  prompts = read_prompts(flag.prompt, flag.prompts)
  check_editing(flag)
  if not flag.out and not flag.film:
    raise cli.Mistake('--out=NAME.png is needed, or --out=FOLDER/.')
  if flag.out:
    check_out(flag.out)
  # What is wrong with the flags is said before the weights are read.
  c = config_of(flag)
  cli.settle_sample(c, flag, **({'solver': INVERTING} if flag.invert else {}))
  check_guidance(flag, c)
  drawing.check_choices(c)
  given = pictures_of(flag, c.data.size)
  mesh = meshes.make()
  run = drawing.load_public(c, mesh) if flag.weights else (
      drawing.load(flag.workdir, mesh)._replace(c=c))
  params = {'strong': run.params}
  request = drawing.request_of(
      run.tokenizer, prompts, c.tokenizer.length, flag.num, flag.negative)
  picture, num = np.tile(np.arange(flag.num), len(prompts)), flag.num
  if flag.interpolate:
    request = interpolation(flag, drawing.shape_of(run), request)
    picture, prompts = request.pop('picture'), [' to '.join(prompts)] * flag.num
    num = flag.interpolate
  weak = drawing.load(flag.weak, mesh, 'weak') if flag.weak else None
  if weak:
    request |= drawing.weaker(run, weak, prompts, flag.num)
    params['weak'] = weak.params
  request |= editing_of(flag, run, given, len(picture))
  way_is_wanted = bool(flag.film and not flag.interpolate)
  with cli.mistakes():
    sampler = drawing.make_sampler(
        run.model, c, film=way_is_wanted, weak=weak and (weak.c, weak.model),
        strength=flag.strength, fill=flag.fill)
    drawn = drawing.draw_all(
        sampler, params, mesh, request, picture, seed=flag.seed,
        scale=c.sample.guidance, batch=c.sample.batch, film=way_is_wanted)
  pictures, way = drawn if way_is_wanted else (drawn, None)
  source = os.path.abspath(flag.weights or flag.workdir)
  if flag.out:
    write_pictures(flag.out, pictures, prompts, num, {
        'seed': str(flag.seed), 'negative': flag.negative,
        'weights': f'{os.path.basename(source)}, {run.source}',
        **{k: str(c.sample[k]) for k in SETTINGS}})
  if flag.film:
    write_film(flag.film, film_of(way, math.ceil(math.sqrt(len(pictures))))
               if way_is_wanted else pictures[:num])


if __name__ == '__main__':
  cli.run(main, define_flags)
