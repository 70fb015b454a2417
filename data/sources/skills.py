"""GenEval's six skills in the shapes world, and prompts of three and four objects.

The kinds of prompts are those of arXiv:2310.11513 section 3.1, by the names of its
files: one object, two objects, counts, colours, positions, and colours that belong to
one of two objects. Where a prompt names no colour, any will do, and a picture to train
on has one at random. No picture shows a colour-shape pair of shapes.UNSEEN_PAIRS.
"""
import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data.sources import drawn, shapes

RADII = {1: (5, 10), 2: (5, 7.5), 3: (4.5, 6), 4: (4, 5.5)}  # units, by the number
NUMBERS = (None, 'one', 'two', 'three', 'four')
ANY_COLOUR = tuple((None, shape) for shape in shapes.SHAPES)
SEEN = shapes.SEEN_OBJECTS
LAYOUTS = 256  # drawn at once, of which the first that fits is taken


class Prompt(NamedTuple):
  """What a picture is to show.

  Attributes:
    objects: pairs (colour, shape); colour is None where any will do.
    relation: None, or that of shapes.OPPOSITE in which the first is to the second.
    counted: all are alike, and the caption says how many.
  """
  objects: tuple
  relation: str | None = None
  counted: bool = False


class Skill(NamedTuple):
  """A kind of prompts.

  Attributes:
    prompts: () -> all of them, each told in one way.
    holds_out: whether training leaves out one in ten, which then are the test.
  """
  prompts: Callable
  holds_out: bool = False


def groups(objects, count: int) -> list[Prompt]:
  """Every `count` different ones of some objects, in one order."""
  return [Prompt(some) for some in itertools.combinations(objects, count)]


def counts() -> list[Prompt]:
  return [Prompt((pair,) * n, counted=True) for pair in SEEN for n in RADII]


def positions() -> list[Prompt]:
  return [Prompt(pair, relation) for relation in ('left of', 'above')
          for pair in itertools.permutations(ANY_COLOUR, 2)]


def attributions() -> list[Prompt]:
  """Two objects that differ in colour and in shape: what is swapped is wrong."""
  return [prompt for prompt in groups(SEEN, 2)
          if all(a != b for a, b in zip(*prompt.objects))]


SKILLS = {
    'single_object': Skill(lambda: groups(ANY_COLOUR, 1)),
    'two_object': Skill(lambda: groups(ANY_COLOUR, 2)),
    'counting': Skill(counts, holds_out=True),
    'colors': Skill(lambda: groups(SEEN, 1)),
    'position': Skill(positions),
    'color_attr': Skill(attributions, holds_out=True),
    'three_objects': Skill(lambda: groups(SEEN, 3), holds_out=True),
    'four_objects': Skill(lambda: groups(SEEN, 4), holds_out=True)}
SPLITS = ('train', *SKILLS)


def name(pair, plural: bool = False) -> str:
  """(None, 'star') -> 'a star'; ('red', 'cross'), plural -> 'red crosses'."""
  words = ' '.join(filter(None, pair))
  if plural:
    return words + ('es' if words.endswith('s') else 's')
  return f'{"an" if words.startswith("orange") else "a"} {words}'


def caption(prompt: Prompt) -> str:
  """'three red circles', 'a star above a ring', 'a red star, ... and a blue ring'."""
  count, (first, *others) = len(prompt.objects), prompt.objects
  if prompt.counted:
    words = ' '.join(first) if count == 1 else name(first, plural=True)
    return f'{NUMBERS[count]} {words}'
  if prompt.relation:
    return f'{name(first)} {prompt.relation} {name(others[0])}'
  *most, last = map(name, prompt.objects)
  return f'{", ".join(most)} and {last}' if most else last


def told(prompt: Prompt, rng, forward: float = 0.5) -> Prompt:
  """A prompt with its objects in any order, or its relation told from either side."""
  if not prompt.relation:
    order = rng.permutation(len(prompt.objects))
    return prompt._replace(objects=tuple(prompt.objects[i] for i in order))
  if rng.random() < forward:
    return prompt
  return Prompt(prompt.objects[::-1], shapes.OPPOSITE[prompt.relation])


@functools.cache
def pool(kind: str, train: bool) -> tuple[Prompt, ...]:
  """Prompts of a kind to train on, each told in one way, or all to test with."""
  skill = SKILLS[kind]
  found = [prompt for prompt in skill.prompts() if not skill.holds_out
           or drawn.held_out(caption(prompt)) != train]
  rng = np.random.default_rng(0)
  return tuple(found if train else [told(prompt, rng) for prompt in found])


def scatter(count: int, rng, size=(32, 32)) -> list[tuple[float, float, float]]:
  """Draws (x, y, r), in units, of objects that lie apart on a canvas of `size`."""
  ends = shapes.UNITS * np.array(size[::-1]) / min(size)  # [2], of x and y
  apart = np.where(np.eye(count), -np.inf, shapes.GAP)    # none lies apart from itself
  while True:
    r = rng.uniform(*RADII[count], (LAYOUTS, count))
    centres = rng.uniform(r[..., None], ends - r[..., None])  # [layouts count 2]
    gaps = np.linalg.norm(centres[:, :, None] - centres[:, None], axis=-1)
    fits = (gaps - r[:, :, None] - r[:, None] >= apart).all((1, 2))
    if fits.any():
      i = fits.argmax()
      return [(*centre, radius) for centre, radius in zip(centres[i], r[i])]


def draw(prompt: Prompt, rng, size=(32, 32)) -> np.ndarray:
  """Draws what a prompt asks for at random places: uint8 [h w 3] of `size`, (h, w)."""
  objects = [pair if pair[0] else seen_colour(pair[1], rng) for pair in prompt.objects]
  if prompt.relation:
    return shapes.draw(shapes.Scene(objects[0], prompt.relation, objects[1]), rng, size)
  return shapes.paint(objects, scatter(len(objects), rng, size), size)


def seen_colour(shape: str, rng) -> tuple[str, str]:
  """A shape with a colour in which training shows it."""
  pairs = [pair for pair in SEEN if pair[1] == shape]
  return pairs[rng.integers(len(pairs))]


def example(split: str, index: int, size) -> dict:
  """Picture `index` of a split: {'image': uint8 [h w 3], 'caption': str}."""
  train = split == 'train'
  rng = np.random.default_rng((SPLITS.index(split), index))
  choices = pool(rng.choice(list(SKILLS)) if train else split, train)
  prompt = choices[rng.integers(len(choices))]
  if train:
    prompt = told(prompt, rng, shapes.FORWARD)
  text = caption(prompt)
  if train and rng.random() < shapes.PARAPHRASES:
    text = f'a picture of {text}'
  return {'image': draw(prompt, rng, size), 'caption': text}


@dataclasses.dataclass
class SkillsConfig(shapes.WorldConfig):
  test: int = 512  # pictures of each kind


class Skills(drawn.Drawn):
  """The pictures of a SkillsConfig."""
  VERSION = tfds.core.Version('1.0.0')
  SPLITS = SPLITS

  @staticmethod
  def config(c, name):
    if c.pictures != SkillsConfig.train:
      name += f'_{c.pictures}'
    return SkillsConfig(name=name, size=c.size, train=c.pictures)

  def examples(self, split):
    c = self.builder_config
    return ((i, example(split, i, c.size))
            for i in range(c.train if split == 'train' else c.test))
