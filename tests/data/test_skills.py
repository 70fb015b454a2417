"""GenEval's skills in the shapes world: what is asked, drawn and held out."""
import functools
import itertools
import math

import numpy as np
import pytest

from data import sources
from data.sources import shapes, skills
from helpers import made

NUMBER = {  # of prompts of a kind, counted by hand: 6 shapes, 38 seen objects
    'single_object': 6, 'two_object': math.comb(6, 2), 'counting': 38 * 4,
    'colors': 38, 'position': 2 * 6 * 5, 'three_objects': math.comb(38, 3),
    'four_objects': math.comb(38, 4)}


def key(prompt):
  """A prompt whichever way it is told."""
  if prompt.relation in ('right of', 'below'):
    prompt = skills.Prompt(prompt.objects[::-1], shapes.OPPOSITE[prompt.relation])
  order = tuple if prompt.relation else functools.partial(sorted, key=str)
  return tuple(order(prompt.objects)), prompt.relation, prompt.counted


@pytest.mark.parametrize('kind', skills.SKILLS)
def test_what_is_held_out_is_one_in_ten_and_never_in_training(kind):
  train, test = ({key(prompt) for prompt in skills.pool(kind, train)}
                 for train in (True, False))
  if skills.SKILLS[kind].holds_out:
    assert train.isdisjoint(test)
    assert 0.08 < len(test) / len(train | test) < 0.18  # of few, as of 152 counts
  else:
    assert train == test
  assert len(train | test) == NUMBER.get(kind, len(train | test))


def test_the_colours_of_two_objects_can_be_swapped():
  prompts = [p for t in (True, False) for p in skills.pool('color_attr', t)]
  assert len({key(p) for p in prompts}) == sum(
      a[0] != b[0] and a[1] != b[1]
      for a, b in itertools.combinations(shapes.SEEN_OBJECTS, 2))


@pytest.mark.parametrize('prompt, text', [
    (skills.Prompt(((None, 'star'),)), 'a star'),
    (skills.Prompt(((None, 'star'), (None, 'ring'))), 'a star and a ring'),
    (skills.Prompt((('red', 'circle'),) * 3, counted=True), 'three red circles'),
    (skills.Prompt((('orange', 'cross'),) * 2, counted=True), 'two orange crosses'),
    (skills.Prompt((('orange', 'cross'),), counted=True), 'one orange cross'),
    (skills.Prompt((('orange', 'cross'),)), 'an orange cross'),
    (skills.Prompt(((None, 'star'), (None, 'ring')), 'left of'),
     'a star left of a ring'),
    (skills.Prompt((('red', 'star'), ('blue', 'ring'))), 'a red star and a blue ring'),
    (skills.Prompt((('red', 'star'), ('blue', 'ring'), ('orange', 'ring'))),
     'a red star, a blue ring and an orange ring')])
def test_captions_read_as_promised(prompt, text):
  assert skills.caption(prompt) == text


def test_a_prompt_is_told_from_any_side_and_stays_the_same():
  rng = np.random.default_rng(0)
  for kind in skills.SKILLS:
    for prompt in skills.pool(kind, True)[::97]:
      ways = [skills.told(prompt, rng) for _ in range(40)]
      assert {key(way) for way in ways} == {key(prompt)}
      if len(set(prompt.objects)) > 1:
        assert len({skills.caption(way) for way in ways}) > 1


@pytest.mark.parametrize('size', [(32, 32), (48, 32), (32, 80)])
@pytest.mark.parametrize('count', skills.RADII)
def test_objects_lie_apart_on_a_canvas_of_any_shape(count, size):
  rng, ends = np.random.default_rng(), 32 * np.array(size[::-1]) / min(size)
  low, high = skills.RADII[count]
  for _ in range(20):
    spots = skills.scatter(count, rng, size)
    assert len(spots) == count
    for x, y, r in spots:
      assert low <= r <= high and r <= x <= ends[0] - r and r <= y <= ends[1] - r
    for (x, y, r), (x2, y2, r2) in itertools.combinations(spots, 2):
      assert np.hypot(x - x2, y - y2) >= r + r2 + shapes.GAP


def test_training_shows_every_kind_and_no_unseen_pair(monkeypatch):
  shown, asked = [], []
  monkeypatch.setattr(shapes, 'paint', lambda objects, *rest: shown.append(objects))
  monkeypatch.setattr(skills, 'told', lambda p, *rest: asked.append(p) or p)
  for i in range(800):
    skills.example('train', i, (32, 32))
  pairs = {tuple(pair) for objects in shown for pair in objects}
  assert pairs <= set(shapes.SEEN_OBJECTS)
  for kind in skills.SKILLS:
    pool = set(skills.pool(kind, True))
    assert 60 < sum(prompt in pool for prompt in asked)  # 100 on average
  assert {len(objects) for objects in shown} == set(skills.RADII)


def test_hidden_colours_are_drawn_at_random():
  rng, prompt = np.random.default_rng(0), skills.Prompt(((None, 'star'),))
  found = {tuple(map(int, np.median(p[(p != 240).any(-1)], 0)))
           for p in (skills.draw(prompt, rng) for _ in range(80))}
  stars = {colour for colour, shape in shapes.SEEN_OBJECTS if shape == 'star'}
  assert {shapes.COLOURS[colour] for colour in stars} <= found


def test_the_set_is_built_and_read_back_by_split(tmp_path, monkeypatch):
  monkeypatch.setattr(skills.Skills, 'SPLITS', ('train', 'counting'))
  c = made.config(tmp_path, source='skills', size=16, pictures=12)
  sources.prepare(c)
  for split, n in (('train', 12), ('counting', 512)):
    c.split = split
    pictures = sources.Pictures(c)
    drawn = [skills.example(split, i, (16, 16)) for i in range(n)]
    content = [sorted((x['caption'], x['image'].tobytes()) for x in items)
               for items in (drawn, map(pictures.decoded, range(len(pictures))))]
    assert content[0] == content[1]
  c.split = 'test'
  with pytest.raises(ValueError, match="config.data.split is 'test'"):
    sources.Pictures(c)
