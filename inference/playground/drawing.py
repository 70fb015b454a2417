"""From what is asked for to pictures, by the same calls as sample.py."""
from collections.abc import Callable
import shlex
from typing import Any, NamedTuple

import numpy as np

import diffusion
from diffusion import editing
from diffusion.build import CHOICES
from inference import edits, generation, sampler
from inference.requests import build_request

MOST_PROGRAMS = 24  # compiled ones that are kept
SETTINGS = 'steps', 'solver', 'timesteps', 'guidance', 'rule'  # keys of config.sample
SHORT = 'steps', 'solver', 'guidance'  # that have flags of their own


class Job(NamedTuple):
  """What one call of sample.py does.

  Attributes:
    label: over its pictures.
    settings: keys of config.sample.
    flags: {name: value} of sample.py beyond them, but for --workdir and --out.
    index: int[m], of each picture among those of its prompt.
    request: model -> Request of m pictures.
    how: of generation.sample_request.
  """
  label: str
  settings: dict
  flags: dict
  index: Any
  request: Callable
  how: dict = {}


def usual(model) -> dict:
  """What fields have where nobody says otherwise."""
  c = model.config
  return {key: c.sample[key] for key in SETTINGS}


def choices(model) -> dict:
  """{name: names that a model can be drawn with}, the config's own first."""
  c, found = model.config, {}
  for key in ('solver', 'timesteps', 'rule'):
    own = c.sample[key]
    found[key] = [own] + [name for name in CHOICES[key]
                          if name != own and fits(model, {key: name})]
  return found | {'fill': list(editing.FILLS)}


def fits(model, settings: dict) -> bool:
  """Whether a model can be drawn from with other settings; compiles nothing."""
  try:
    c = generation.with_settings(model.config, settings)
    process = diffusion.build(c.diffusion)
    how = sampler.build_plan(model.module, c, process)
    sampler.check_sampler(model.module, c, how, model.size)
  except (ValueError, TypeError):
    return False
  return True


def jobs(model, asked) -> list[Job]:
  """The calls of sample.py that a request comes to. Raises ValueError."""
  if asked.negative and 1 in (asked.guidances or (asked.guidance,)):
    raise ValueError('negative has no effect where guidance is 1; give more than 1.')
  return MODES[asked.mode](model, asked)


def common(model, asked) -> tuple[dict, dict]:
  """(settings, flags) that all modes share."""
  settings = {key: getattr(asked, key) for key in SETTINGS}
  flags = {'prompt': [asked.prompt], 'seed': asked.seed}
  if asked.negative:
    flags['negative'] = asked.negative
  for name, usual in zip(('height', 'width'), model.size):
    if getattr(asked, name) != usual:
      flags[name] = getattr(asked, name)
  return settings, flags


def request_of(asked, prompts, num: int):
  """model -> the request of num pictures of each prompt."""
  return lambda model: build_request(
      model.tokenizer, prompts, model.config.tokenizer.length,
      (asked.height, asked.width), num=num, negative=asked.negative or None)


def draw(model, asked) -> list[Job]:
  settings, flags = common(model, asked)
  return [Job('', settings, flags | {'num': asked.num}, np.arange(asked.num),
              request_of(asked, [asked.prompt], asked.num))]


def edit(model, asked) -> list[Job]:
  """Image to image and inpainting."""
  if asked.image is None:
    raise ValueError('image is missing: a picture to start from.')
  if asked.strength == 1 and asked.mask is None:
    raise ValueError('all of the picture would be lost in noise: paint a mask, or give '
                     'a strength below 1.')
  settings, flags = common(model, asked)
  flags |= {'num': asked.num, 'image': 'image.png', 'strength': asked.strength}
  if asked.mask is not None:
    flags |= {'mask': 'mask.png', 'fill': asked.fill}
  of_prompt = request_of(asked, [asked.prompt], asked.num)
  given = {name: getattr(asked, name) for name in ('image', 'mask')
           if getattr(asked, name) is not None}
  def request(model):
    return edits.given_pictures(model, of_prompt(model), asked.num,
                                (asked.height, asked.width), None, given)[0]
  fill = {'fill': asked.fill} if asked.mask is not None else {}
  return [Job('', settings, flags, np.arange(asked.num), request,
              {'strength': asked.strength} | fill)]


def interpolate(model, asked) -> list[Job]:
  """From one seed, or one prompt and seed, to another."""
  to_seed = asked.seed if asked.to_seed is None else asked.to_seed
  prompts = [asked.prompt] + [asked.to_prompt] * bool(asked.to_prompt)
  if len(prompts) == 1 and to_seed == asked.seed:
    raise ValueError('to_seed is the seed itself; give another, or a second prompt.')
  settings, flags = common(model, asked)
  of_prompts = request_of(asked, prompts, 1)
  shape = model.module.latent_shape((asked.height, asked.width))
  def request(model):
    return edits.interpolate(of_prompts(model), shape, steps=asked.frames, num=1,
                             seed=asked.seed, to_seed=to_seed)[0]
  return [Job('', settings, flags | {
      'prompt': prompts, 'interpolate': asked.frames, 'to_seed': to_seed},
      np.zeros(asked.frames, int), request)]


def grid(model, asked) -> list[Job]:
  """A picture for each guidance and number of steps, in rows of one number of steps."""
  if not asked.guidances or not asked.steps_list:
    raise ValueError('guidances and steps_list are needed: the sides of the grid.')
  settings, flags = common(model, asked)
  return [Job(f'{steps} steps, guidance {guidance:g}',
              settings | {'steps': steps, 'guidance': guidance}, flags, np.arange(1),
              request_of(asked, [asked.prompt], 1))
          for steps in asked.steps_list for guidance in asked.guidances]


MODES = {'draw': draw, 'edit': edit, 'interpolate': interpolate, 'grid': grid}


def answer(model, job: Job, asked, watch, done=None) -> np.ndarray:
  """The pictures of a job, uint8 [m h w c], bit for bit those of its command line.

  watch: of sampler.build_sampler. done: called with the number of pictures so far.
  """
  model = model.replace(config=generation.with_settings(model.config, job.settings))
  pictures = generation.sample_request(
      model, job.request(model), job.index, seed=asked.seed,
      size=(asked.height, asked.width), watch=watch, progress=done, **job.how)
  while len(model.programs) > MOST_PROGRAMS:
    model.programs.pop(next(iter(model.programs)), None)
  return pictures


def command_line(model, job: Job, place: list[str]) -> str:
  """The call of sample.py that draws the same. place: its flags that name the model."""
  words = ['python', 'sample.py', *place]
  for name, value in job.flags.items():
    words += [f'--{name}={x}' for x in (value if name == 'prompt' else [value])]
  for key, value in job.settings.items():
    if key in SHORT:
      words.append(f'--{key}={value}')
    elif value != model.config.sample[key]:
      words.append(f'--sample.{key}={value}')
  return shlex.join([*words, '--out=out.png'])
