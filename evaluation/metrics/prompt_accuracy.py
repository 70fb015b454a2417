"""Prompt accuracy: the share of pictures that show exactly what was asked for."""
import numpy as np

from configs import base
from data.sources import shapes
from evaluation import scores
from evaluation.metrics import shapes_scorer

WORLD = shapes_scorer.World(
    shapes.CANVAS, shapes.COLOURS, shapes.SHAPES, shapes.opacity)
KINDS = {  # of prompts, and the scenes that they are drawn from
    'one object': shapes.ONE_OBJECT,
    'two objects': shapes.SPLITS['test'],
    'unseen pairs': shapes.SPLITS['test_pairs'],
}


def prompt_accuracy(c, generate) -> scores.Metric:
  """'accuracy/KIND' for each of config.eval.kinds, config.eval.num prompts each.

  Beside it 'scorer/KIND', the share of as many true pictures that the scorer, which
  works on pixels alone, takes for right.
  """
  for kind in c.eval.kinds:
    if kind not in KINDS:
      raise ValueError(f'config.eval.kinds has {kind!r}, not one of {list(KINDS)}.')
  if c.data.source != 'shapes':
    raise ValueError('prompt_accuracy scores the shapes world; this config draws '
                     f'config.data.source={c.data.source!r}.')
  slugs = {kind: kind.replace(' ', '_') for kind in c.eval.kinds}
  num, size = c.eval.num, base.height_width(c.data.size)

  def measure(model, seed: int, progress=None):
    chosen = {kind: scenes_of(kind, num, seed) for kind in slugs}
    everything = [scene for scenes in chosen.values() for scene in scenes]
    pictures = generate(model, [shapes.caption(scene) for scene in everything], seed,
                        progress)
    found, rng = {}, np.random.default_rng(seed)
    for i, (kind, scenes) in enumerate(chosen.items()):
      true = [shapes.draw(scene, rng, size) for scene in scenes]
      for name, some in (('accuracy', pictures[i * num:(i + 1) * num]),
                         ('scorer', true)):
        right = sum(shapes_scorer.correct(picture, scene, WORLD)
                    for picture, scene in zip(some, scenes, strict=True))
        found[f'{name}/{slugs[kind]}'] = scores.share(
            right, num, 'on true pictures' * (name == 'scorer'))
    return found
  units = {f'{name}/{slug}': '%' for slug in slugs.values()
           for name in ('accuracy', 'scorer')}
  return scores.Metric(units, measure)


def scenes_of(kind: str, num: int, seed: int):
  """`num` scenes of a kind, in a random order, none twice before all came once."""
  pool = KINDS[kind]
  rng = np.random.default_rng(seed)
  rounds = -(-num // len(pool))
  order = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])
  return [pool[i] for i in order[:num]]
