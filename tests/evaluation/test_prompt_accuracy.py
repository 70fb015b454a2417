"""The scorer is right on true pictures and on wrong ones."""
import numpy as np
import pytest

from data.sources import shapes
from evaluation import prompt_accuracy
from evaluate import WORLD, scenes_of

RNG = np.random.default_rng


@pytest.mark.parametrize('size', [32, 64])
@pytest.mark.parametrize('kind', ['one object', 'two objects', 'unseen pairs'])
def test_true_pictures_are_right(kind, size):
  scenes, rng = scenes_of(kind, 300, 1), RNG(2)
  pictures = [shapes.draw(scene, rng, size) for scene in scenes]
  assert prompt_accuracy.score(pictures, scenes, WORLD)['accuracy'] > 0.99
  noisy = [np.clip(p + rng.normal(0, 8, p.shape), 0, 255).astype(np.uint8)
           for p in pictures]
  assert prompt_accuracy.score(noisy, scenes, WORLD)['accuracy'] > 0.98


def wrong_ones(scene):
  """Scenes that differ from one of two objects in a single thing."""
  (colour, shape), (other, form) = scene.first, scene.second
  for c in shapes.COLOURS:
    if c != colour:
      yield shapes.Scene((c, shape), scene.relation, scene.second)
  for s in shapes.SHAPES:
    if s != form:
      yield shapes.Scene(scene.first, scene.relation, (other, s))
  for relation in shapes.OPPOSITE:
    if relation != scene.relation:
      yield shapes.Scene(scene.first, relation, scene.second)
  yield shapes.Scene((other, shape), scene.relation, (colour, form))  # colours swapped
  yield shapes.Scene(scene.first)


@pytest.mark.parametrize('relation', list(shapes.OPPOSITE))
def test_a_picture_that_is_wrong_in_one_thing_is_wrong(relation):
  scene, rng = shapes.Scene(('red', 'ring'), relation, ('green', 'star')), RNG(3)
  assert prompt_accuracy.correct(shapes.draw(scene, rng), scene, WORLD)
  assert prompt_accuracy.correct(shapes.draw(scene.mirrored(), rng), scene, WORLD)
  for wrong in wrong_ones(scene):
    assert not prompt_accuracy.correct(shapes.draw(wrong, rng), scene, WORLD), wrong


def test_what_is_no_shape_is_never_right():
  scene = shapes.Scene(('red', 'circle'))
  empty = np.full((32, 32, 3), shapes.CANVAS, np.uint8)
  bar = empty.copy()
  bar[14:18, 4:28] = shapes.COLOURS['red']
  grey = empty.copy()
  grey[10:20, 10:20] = 128
  extra = shapes.draw(scene, RNG(0)).copy()
  extra[0:4, 0:4] = shapes.COLOURS['blue']
  noise = RNG(0).integers(0, 256, (32, 32, 3), np.uint8)
  for picture in (empty, bar, grey, extra, noise):
    assert not prompt_accuracy.correct(picture, scene, WORLD)


def test_the_interval_is_wilsons():
  """Newcombe 1998, table I: 81 of 263, 0.2553 to 0.3662; 0 of 20, 0 to 0.1611."""
  np.testing.assert_allclose(
      prompt_accuracy.interval(81, 263), (0.2553, 0.3662), atol=1e-4)
  np.testing.assert_allclose(prompt_accuracy.interval(0, 20), (0, 0.1611), atol=1e-4)


def test_no_pictures_no_score():
  with pytest.raises(ValueError, match='at least one'):
    prompt_accuracy.score([], [], WORLD)


def test_scenes_repeat_only_when_all_have_come():
  ones = scenes_of('one object', 100, 0)
  assert set(ones[:38]) == set(shapes.ONE_OBJECT) and len(ones) == 100
  assert not any(s in shapes.SPLITS['train'] for s in scenes_of('two objects', 200, 0))
