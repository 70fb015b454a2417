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
last. Every key of config.sample can be given: --sample.timesteps=karras,
--sample.rule=apg.
"""
import math
import os

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from console import command, options
from console.errors import UserError, user_errors
from console.files import atomic_write, check_new_file
from console.progress import Progress
from data import films, images
import diffusion
from diffusion import process as processes
from inference import chosen, controlnets, edits, generation, loading
from inference.requests import build_request
from inference.sampler import to_uint8

INVERTING = 'heun'    # solver of --invert, unless --solver says another
SETTINGS = ('steps', 'solver', 'timesteps', 'guidance', 'picture_guidance', 'rule',
            'rescale', 'over_time', 'interval', 'clip')  # of config.sample, noted
EDITING = ('image', 'strength', 'mask', 'fill', 'invert', 'interpolate', 'to_seed',
           'weak', 'lora', 'embedding', 'controlnet', 'control')  # noted where given
SEEDS = dict(lower_bound=0, upper_bound=2**32 - 1)


def define_flags():
  options.define_model()
  flags.DEFINE_multi_string('prompt', [], 'What to draw; may be given many times. '
                            '"one:1.5 AND another" adds up weighted prompts.')
  flags.DEFINE_string('prompts', None, 'A UTF-8 file with a prompt a line.')
  flags.DEFINE_string('negative', None, 'The prompt that guidance moves away from.')
  flags.DEFINE_integer('num', 1, 'Number of pictures of each prompt.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Seed of the initial noise.', **SEEDS)
  flags.DEFINE_integer('height', None, 'Height of the pictures in pixels; by default '
                       'that of training.', lower_bound=1)
  flags.DEFINE_integer('width', None, 'Width of the pictures in pixels; by default '
                       'that of training.', lower_bound=1)
  flags.DEFINE_string('out', None, 'Where the pictures go: NAME.png or FOLDER/.')
  flags.DEFINE_string('film', None, 'NAME.gif: a film from noise to picture.')
  flags.DEFINE_string('destroy', None, 'A picture, to be dissolved in --film.')
  flags.DEFINE_string('image', None, 'A picture to start from.')
  flags.DEFINE_float('strength', 1.0, 'Share of noise that --image gets, in (0, 1].')
  flags.DEFINE_string('mask', None, 'A picture: where it is white, --image is painted '
                      'anew.')
  flags.DEFINE_string('fill', None, 'How --mask is painted: blend, repaint, network; '
                      'by default by a network that sees it, else blend.')
  flags.DEFINE_string('invert', None, 'The caption of --image, whose noise is sought.')
  flags.DEFINE_integer('interpolate', None, 'Number of pictures on the way from the '
                       'first prompt and seed to the last.', lower_bound=2)
  flags.DEFINE_integer('to_seed', None, 'The last seed of --interpolate.', **SEEDS)
  flags.DEFINE_string('controlnet', None, 'FOLDER or FOLDER:SCALE of a ControlNet, or '
                      'its name on the hub.')
  flags.DEFINE_string('control', None, 'The picture that a ControlNet is led by: of '
                      '--controlnet, or of the run, by config.diffusion.control.')
  flags.DEFINE_string('weak', None, 'Workdir of a weaker run, for autoguidance.')
  options.define_sample()


def check_editing(flag):
  """Raises UserError for flags of editing that lack another or contradict it."""
  for name, needed in (('mask', 'image'), ('invert', 'image'),
                       ('controlnet', 'control')):
    if flag[name].value and not flag[needed].value:
      raise UserError(f'--{name} needs --{needed}.')
  if not 0 < flag.strength <= 1:
    raise UserError(f'--strength is {flag.strength}; it must be above 0, to 1.')
  wrong = {
      '--strength is for --image without --invert.':
          flag.strength < 1 and (not flag.image or flag.invert),
      '--fill is for --mask.': flag.fill and not flag.mask,
      '--weak is not for --interpolate.': flag.weak and flag.interpolate,
      '--mask and --invert are two ways; give one of them.': flag.mask and flag.invert,
      '--interpolate needs a second --prompt or --to_seed.':
          flag.interpolate and len(flag.prompt) == 1 and flag.to_seed is None,
      '--interpolate takes one or two --prompt, and no --image.':
          flag.interpolate and (flag.image or len(flag.prompt) > 2 or flag.prompts),
      '--to_seed is for --interpolate.':
          flag.to_seed is not None and not flag.interpolate,
  }
  for line, holds in wrong.items():
    if holds:
      raise UserError(line)


def check_effects(flag, c):
  """Raises UserError for flags that have no effect with this config."""
  lost = flag.strength == 1 and not (flag.mask or flag.invert)
  if flag.image and lost and c.model.get('shown', 'nothing') == 'nothing':
    raise UserError('--image needs --strength below 1, --mask or --invert: all of it '
                    'would be lost in noise.')
  for name in ('negative', 'weak'):
    if flag[name].value and c.sample.guidance == 1:
      raise UserError(f'--{name} has no effect at --guidance=1; give more than 1.')
  if flag.negative and flag.weak:
    raise UserError('--negative has no effect with --weak, which takes its place.')
  with user_errors():
    diffusion.check_sampling(c.sample)


def read_prompts(given: list[str], path: str | None) -> list[str]:
  """Prompts of the flags and of a file, in this order."""
  prompts = list(given)
  if path:
    with user_errors():
      try:
        with open(path, encoding='utf-8-sig') as f:
          lines = [line.strip() for line in f]
      except UnicodeDecodeError as e:
        raise ValueError(f'--prompts={path} is not UTF-8 text: {e}') from e
    lines = [line for line in lines if line]
    if not lines:
      raise UserError(f'--prompts={path} has no prompt; it takes one a line.')
    prompts += lines
  if not prompts:
    raise UserError('--prompt="..." is needed, or --prompts=FILE.')
  return prompts


def check_outputs(flag):
  """Raises UserError unless what is to be written can be."""
  with user_errors():
    if flag.film:
      check_new_file(flag.film, 'film', '.gif')
    path = flag.out
    if path and path.endswith('.png'):
      check_new_file(path, 'out', '.png')
    elif path and not path.endswith('/') and not os.path.isdir(path):
      raise ValueError(f'--out={path} is neither NAME.png nor a folder; one that is to '
                       'be made ends in a slash.')
    elif path and not os.path.isdir(os.path.dirname(os.path.abspath(path))):
      raise ValueError(f'--out={path}: there is no folder around it.')


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
    with atomic_write(out) as new:
      images.write_png(new, picture, notes | {'prompt': '\n'.join(prompts)})
  else:
    os.makedirs(out, exist_ok=True)
    for i, picture in enumerate(pictures):
      with atomic_write(os.path.join(out, f'{i:04}.png')) as new:
        images.write_png(new, picture, notes | {
            'prompt': prompts[i // num], 'index': str(i % num)})
  print(out)


def notes_of(flag, c, size, source: str) -> dict:
  """What the text chunks of a PNG say beside its prompt."""
  place = os.path.basename(os.path.abspath(flag.weights or flag.workdir))
  edits = {name: str(flag[name].value) for name in EDITING if flag[name].present}
  return {'seed': str(flag.seed), 'negative': flag.negative or '',
          'size': '{} x {}'.format(*size), 'weights': f'{place}, {source}',
          **{k: str(c.sample[k]) for k in SETTINGS}, **edits}


def read_image(path: str, size, channels: int):
  """A picture as f32[h w channels] in [-1, 1]."""
  with user_errors():
    return edits.to_input(images.read(path, size, channels))


def destroy(flag):
  """Writes a film of a picture that dissolves into noise by the run's schedule."""
  if flag.prompt or flag.prompts or flag.out:
    raise UserError('--destroy=PICTURE takes no prompt and no --out, only --film.')
  for name in ('image', 'mask', 'invert', 'interpolate', 'weak', 'negative', 'control'):
    if flag[name].value:
      raise UserError(f'--{name} has no effect with --destroy=PICTURE.')
  if not flag.film:
    raise UserError('--destroy=PICTURE needs --film=NAME.gif to write.')
  with user_errors():
    c = chosen.config_of(flag, command.note)
  x0 = read_image(flag.destroy, options.picture_size(flag, c), c.data.channels)
  with user_errors():
    schedule = diffusion.build(c.diffusion).schedule
  eps = jax.random.normal(jax.random.key(flag.seed), x0.shape)
  frames = jax.lax.map(
      lambda t: to_uint8(processes.add_noise(x0, eps, *schedule(t))),
      jnp.linspace(0, 1, films.FRAMES))
  films.write(flag.film, np.asarray(frames))
  print(flag.film)


def main(flag):
  check_outputs(flag)
  if flag.destroy:
    return destroy(flag)
  prompts = read_prompts(flag.prompt, flag.prompts)
  check_editing(flag)
  if not flag.out and not flag.film:
    raise UserError('--out=NAME.png is needed, or --out=FOLDER/.')
  # What is wrong with the flags is said before the weights are read.
  with user_errors():
    c = chosen.config_of(flag, command.note)
  options.resolve_sample(c, flag, **({'solver': INVERTING} if flag.invert else {}))
  check_effects(flag, c)
  size = options.picture_size(flag, c)
  given = {name: read_image(flag[name].value, size, c.data.channels)
           for name in ('image', 'mask', 'control') if flag[name].value}
  way_is_wanted = bool(flag.film and not flag.interpolate)
  with user_errors():
    model = chosen.load(flag, c)
    if flag.controlnet:
      model = controlnets.add_controlnet(model, flag.controlnet, flag.variant)
    weak = flag.weak and loading.load(
        flag.weak, model.mesh, loading.config_of(flag.weak, 'weak'))
    request = build_request(model.tokenizer, prompts, c.tokenizer.length, size,
                            num=flag.num, negative=flag.negative)
    index, num = np.tile(np.arange(flag.num), len(prompts)), flag.num
    if flag.interpolate:
      request, index = edits.interpolate(
          request, model.module.latent_shape(size), steps=flag.interpolate, num=num,
          seed=flag.seed, to_seed=flag.seed if flag.to_seed is None else flag.to_seed)
      prompts, num = [' to '.join(prompts)] * flag.num, flag.interpolate
    if weak:
      request = request.replace(
          weak_tokens=edits.weak_tokens(model, weak, prompts, flag.num))
    request, error = edits.given_pictures(model, request, len(index), size,
                                          flag.invert, given)
    if error is not None:
      command.note(f'the noise of --image leads back to it within {error:.2g} (root '
                   'mean square, of a range of 2).')
    drawn = generation.sample_request(
        model, request, index, seed=flag.seed, size=size, film=way_is_wanted,
        weak=weak or None, strength=flag.strength, fill=flag.fill,
        progress=Progress(len(index), 'pictures'))
  pictures, way = drawn if way_is_wanted else (drawn, None)
  if flag.out:
    write_pictures(flag.out, pictures, prompts, num,
                   notes_of(flag, c, size, model.source))
  if flag.film:
    films.write(flag.film, pictures[:num] if way is None else films.frames_of(
        way, math.ceil(math.sqrt(len(pictures)))))
    print(flag.film)


if __name__ == '__main__':
  command.run(main, define_flags)
