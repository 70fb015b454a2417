r"""Says how often the scorer of the shapes world is right, in docs/shapes.md.

python benchmarks/scorer.py [PICTURES]

Of true pictures of every kind of prompts: the share that it takes for right. Of wrong
ones, which differ from the prompt in one thing chosen at random: the share that it
takes for right all the same.
"""
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import numpy as np

from data.sources import shapes, skills
from evaluation.metrics import shapes_scorer
from evaluation.metrics.prompt_accuracy import KINDS, WORLD, scenes_of

MARK = '<!-- written by benchmarks/scorer.py -->\n'
SIZES = (32, 64)


def changes(objects, relation) -> dict:
  """What can be wrong in a picture -> rng -> (objects, relation) of such a one."""
  count = len(objects)
  def replaced(i, pair):
    return (*objects[:i], pair, *objects[i + 1:])
  def colour(rng):
    i = rng.integers(count)
    return replaced(i, (other(shapes.COLOURS, objects[i][0], rng), objects[i][1]))
  def shape(rng):
    i = rng.integers(count)
    return replaced(i, (objects[i][0], other(shapes.SHAPES, objects[i][1], rng)))
  def swapped(rng):
    (a, b), (c, d) = objects
    return (c, b), (a, d)
  named = all(pair[0] for pair in objects)
  found = {'shape': lambda rng: (shape(rng), relation)}
  if named:
    found['colour'] = lambda rng: (colour(rng), relation)
  if named and count == 2 and all(a != b for a, b in zip(*objects)):
    found['colours swapped'] = lambda rng: (swapped(rng), relation)
  if relation:
    found['relation'] = lambda rng: (objects, other(shapes.OPPOSITE, relation, rng))
  if count > 1:
    found['one less'] = lambda rng: (replaced(rng.integers(count), None), None)
  if count < len(skills.RADII):
    found['one more'] = lambda rng: (
        (*objects, shapes.OBJECTS[rng.integers(len(shapes.OBJECTS))]), None)
  return found


def other(names, name: str, rng) -> str:
  """One of some names that is not this one."""
  rest = [x for x in names if x != name]
  return rest[rng.integers(len(rest))]


def wrong(scene, rng):
  """(what is wrong, the skills.Prompt of a picture that is wrong in that alone)."""
  found = changes(tuple(scene.objects), scene.relation)
  what = rng.choice(sorted(found))
  objects, relation = found[what](rng)
  return str(what), skills.Prompt(tuple(filter(None, objects)), relation)


def accepted(kind: str, size: int, num: int, seed: int = 0) -> tuple[float, float]:
  """Shares of true and of wrong pictures that the scorer takes for right."""
  rng, true, false = np.random.default_rng((seed, size)), 0, 0
  for scene in scenes_of(kind, num, seed):
    true += shapes_scorer.correct(KINDS[kind].draw(scene, rng, (size, size)), scene,
                                  WORLD)
    picture = skills.draw(wrong(scene, rng)[1], rng, (size, size))
    false += shapes_scorer.correct(picture, scene, WORLD)
  return true / num, false / num


def table(num: int) -> str:
  """The table of docs/shapes.md."""
  def cells(name):
    return ''.join(f' | {name}, {size} px' for size in SIZES)
  lines = [f'| {num:,} pictures each{cells("true")}{cells("wrong")} |',
           '|-' * (1 + 2 * len(SIZES)) + '|']
  for kind in KINDS:
    shares = np.array([accepted(kind, size, num) for size in SIZES])  # [sizes 2]
    line = ' | '.join([f'`{kind}`', *(f'{x:.2%}' for x in shares.T.ravel())])
    lines.append(f'| {line} |')
    print(lines[-1], file=sys.stderr)
  return '\n'.join(lines) + '\n'


if __name__ == '__main__':
  path = os.path.join(ROOT, 'docs', 'shapes.md')
  with open(path, encoding='utf-8') as f:
    before, _, after = f.read().split(MARK)
  made = table(int(sys.argv[1]) if sys.argv[1:] else 1_000)
  with open(path, 'w', encoding='utf-8') as f:
    f.write(MARK.join([before, made, after]))
