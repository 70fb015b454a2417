"""Prompt accuracy: the share of pictures that show exactly what was asked for."""
import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from configs import base
from data.sources import shapes, skills
from evaluation import scores
from evaluation.metrics import shapes_scorer

WORLD = shapes_scorer.World(
    shapes.CANVAS, shapes.COLOURS, shapes.SHAPES, shapes.opacity)
SOURCES = ('shapes', 'skills')  # whose pictures are of this world


class Kind(NamedTuple):
  """Prompts of a kind.

  Attributes:
    scenes: () -> those that they are drawn from.
    caption: scene -> the prompt.
    draw: (scene, rng, (h, w)) -> a true picture, uint8 [h w 3].
  """
  scenes: Callable
  caption: Callable = shapes.caption
  draw: Callable = shapes.draw


KINDS = {
    'one object': Kind(lambda: shapes.ONE_OBJECT),
    'two objects': Kind(lambda: shapes.SPLITS['test']),
    'unseen pairs': Kind(lambda: shapes.SPLITS['test_pairs'])
} | {name: Kind(functools.partial(skills.pool, name, train=False), skills.caption,
                skills.draw) for name in skills.SKILLS}


def prompt_accuracy(c) -> scores.Metric:
  """'accuracy/KIND' for each of config.eval.kinds, config.eval.num prompts each.

  Beside it 'scorer/KIND', the share of as many true pictures that the scorer, which
  works on pixels alone, takes for right.
  """
  for kind in c.eval.kinds:
    if kind not in KINDS:
      raise ValueError(f'config.eval.kinds has {kind!r}, not one of {list(KINDS)}.')
  if c.data.source not in SOURCES:
    raise ValueError('prompt_accuracy scores the shapes world; this config draws '
                     f'config.data.source={c.data.source!r}.')
  if c.data.channels != 3:
    raise ValueError(f'config.data.channels is {c.data.channels}; prompt_accuracy '
                     'looks at colours, of 3.')
  slugs = {kind: kind.replace(' ', '_') for kind in c.eval.kinds}
  num, size = c.eval.num, base.height_width(c.data.size)

  def measure(run):
    chosen = {kind: scenes_of(kind, num, run.seed) for kind in slugs}
    prompts = [KINDS[kind].caption(scene) for kind, scenes in chosen.items()
               for scene in scenes]
    pictures = run.generate(run.model, prompts, run.seed, run.progress)
    found, rng = {}, np.random.default_rng(run.seed)
    for i, (kind, scenes) in enumerate(chosen.items()):
      true = [KINDS[kind].draw(scene, rng, size) for scene in scenes]
      for name, some in (('accuracy', pictures[i * num:(i + 1) * num]),
                         ('scorer', true)):
        right = sum(shapes_scorer.correct(picture, scene, WORLD)
                    for picture, scene in zip(some, scenes, strict=True))
        found[f'{name}/{slugs[kind]}'] = scores.share(
            right, num, 'on true pictures' * (name == 'scorer'))
    return found
  units = {f'{name}/{slug}': '%' for slug in slugs.values()
           for name in ('accuracy', 'scorer')}
  return scores.Metric(units, measure, higher=True)


def scenes_of(kind: str, num: int, seed: int):
  """`num` scenes of a kind, in a random order, none twice before all came once."""
  pool = KINDS[kind].scenes()
  rng = np.random.default_rng(seed)
  rounds = -(-num // len(pool))
  order = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])
  return [pool[i] for i in order[:num]]
