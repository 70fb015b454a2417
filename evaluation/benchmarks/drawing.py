"""Pictures of a benchmark's prompts, file by file, so that a stop loses one batch.

A folder holds settings.json, what is drawn and how, and images/, which is what the
benchmark's own code is given: nothing else lies there. A file is written under another
name, outside, and moved to its place when whole.
"""
import hashlib
import json
import math
import os

import jax
from PIL import Image
import numpy as np

from data import images
from inference import generation
from inference.requests import build_request, prompt_parts

SETTINGS, PICTURES, PART = 'settings.json', 'images', 'part'
MODULES = ('model', 'condition', 'autoencoder', 'diffusion', 'tokenizer')  # of a config


def check(row, items, num: int, size: tuple[int, int]):
  """Raises ValueError for what a benchmark cannot take."""
  if row.nums and num not in row.nums:
    raise ValueError(f'--num is {num}; its code reads '
                     f'{" or ".join(map(str, row.nums))} of a prompt.')
  if row.square and size[0] != size[1]:
    raise ValueError(f'the pictures are {size[0]} x {size[1]}; its code cuts squares.')
  paths = [path for item in items for path in item.paths]
  if len(set(paths)) < len(paths):
    twice = next(path for path in paths if paths.count(path) > 1)
    raise ValueError(f'two prompts would have the same file, {twice}.')
  for item in items:
    if len(prompt_parts(item.prompt)) > 1:
      raise ValueError(f'the prompt {item.prompt[:60]!r} has an AND, which would be '
                       'read as two prompts.')


def settings_of(name: str, model, items, *, num: int, seed: int, negative: str,
                size) -> dict:
  """What must be the same when drawing goes on, as JSON."""
  c = model.config
  def digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
  sample = {f'sample.{key}': value for key, value in json.loads(
      c.sample.to_json()).items() if key not in generation.REQUESTED}
  return {'benchmark': name, 'weights': f'{model.source}, {fingerprint(model.params)}',
          'model': digest([c[key].to_json() for key in MODULES]),
          'prompts': digest(items), 'num': num, 'seed': seed, 'negative': negative,
          'size': list(size), **sample}


def fingerprint(params) -> str:
  """Tells parameters apart by the first numbers of each leaf."""
  first = jax.jit(lambda tree: [x[(0,) * (x.ndim - 1)][:8] if x.ndim else x
                                for x in jax.tree.leaves(tree)])
  data = b''.join(np.asarray(x).tobytes() for x in first(params))
  return hashlib.sha256(data).hexdigest()[:16]


def begin(out: str, settings: dict):
  """Writes down what is drawn; ValueError where `out` holds something else."""
  path = os.path.join(out, SETTINGS)
  if os.path.exists(path):
    with open(path, encoding='utf-8') as f:
      known = json.load(f)
    for key in sorted(known | settings):
      if known.get(key) != settings.get(key):
        raise ValueError(f'--out={out} was begun with {key} {known.get(key)}, not '
                         f'{settings.get(key)}; go on as it was, or give a new folder.')
  elif os.path.isdir(out) and set(os.listdir(out)) - {PART}:
    raise ValueError(f'--out={out} is not empty and holds no {SETTINGS}; give a new '
                     'folder.')
  else:
    os.makedirs(out, exist_ok=True)
    write_text(out, SETTINGS, json.dumps(settings, indent=2) + '\n')


def write_text(out: str, path: str, text: str):
  with open(os.path.join(out, PART), 'w', encoding='utf-8') as f:
    f.write(text)
  move(out, path)


def write_image(out: str, path: str, pictures: list):
  """One picture uint8 [h w c], or a square number of them in a grid, row by row."""
  columns = math.isqrt(len(pictures))
  sheet = images.grid(np.stack(pictures), columns, gap=0)
  images.pillow(sheet).save(
      os.path.join(out, PART), Image.registered_extensions()[os.path.splitext(path)[1]])
  move(out, path)


def move(out: str, path: str):
  """Moves what is whole to its place."""
  target = os.path.join(out, path)
  os.makedirs(os.path.dirname(target), exist_ok=True)
  os.replace(os.path.join(out, PART), target)


def path_of(item, i: int) -> str:
  """Where picture i of a prompt goes, alone or with the others."""
  return os.path.join(PICTURES, item.paths[min(i, len(item.paths) - 1)])


def missing(out: str, items, num: int) -> list[tuple]:
  """[(item, number of a picture of it)] of those that are not there yet."""
  return [(item, i) for item in items for i in range(num)
          if not os.path.exists(os.path.join(out, path_of(item, i)))]


def draw(row, items, model, out: str, *, num: int, progress=None, **how) -> str:
  """Draws what is missing, config.sample.batch at a time. Returns the folder.

  Args:
    out: of `begin`.
    progress: None, or called with the number of pictures that are done.
    how: seed, negative and size, as of `pictures_of`.

  Raises:
    ValueError: a prompt that is no UTF-8 text, or none of a model's classes.
  """
  for item in items:
    for path, text in item.sidecars.items():
      write_text(out, os.path.join(PICTURES, path), text)
  held, rows = {}, missing(out, items, num)
  for done, (item, i, picture) in enumerate(pictures_of(rows, model, **how), 1):
    path = path_of(item, i)
    held.setdefault(path, []).append(picture)
    if len(held[path]) == num // len(item.paths):
      write_image(out, path, held.pop(path))
    if progress:
      progress(done)
  folder = os.path.join(out, PICTURES)
  for path, text in row.index(items, folder).items():
    write_text(out, os.path.join(PICTURES, path), text)
  return folder


def pictures_of(rows, model, *, seed: int, negative: str, size):
  """(item, i, picture uint8 [h w c]) of rows (item, i), as they are drawn.

  Picture i of a prompt is that of inference.generate: its noise is by seed and i.
  """
  if not rows:
    return
  prompts = list(dict.fromkeys(item.prompt for item, _ in rows))  # each is read once
  place, batch = {p: k for k, p in enumerate(prompts)}, model.config.sample.batch
  request = build_request(model.tokenizer, prompts, model.config.tokenizer.length, size,
                          negative=negative)
  for start in range(0, len(rows), batch):
    some = rows[start:start + batch]
    at = np.array([place[item.prompt] for item, _ in some])
    drawn = generation.sample_request(
        model, jax.tree.map(lambda x, at=at: x[at], request),
        np.array([i for _, i in some]), seed=seed, size=size)
    yield from ((*which, picture) for which, picture in zip(some, drawn, strict=True))
