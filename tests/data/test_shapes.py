"""The shapes world keeps what docs say of it."""
import hashlib

import numpy as np
import pytest

from data import sources
from data.sources import shapes, tfds
from evaluation.metrics.prompt_accuracy import scenes_of
from helpers import made


def test_held_out_scenes_are_one_in_ten_and_never_in_training():
  scenes = shapes.scenes(shapes.SEEN_OBJECTS, 2)
  held = [s for s in scenes if s.held_out]
  assert 0.08 < len(held) / len(scenes) < 0.12
  told_both_ways = {s for s in shapes.SPLITS['test']} | {
      s.mirrored() for s in shapes.SPLITS['test']}
  assert told_both_ways.isdisjoint(shapes.SPLITS['train'])


def test_training_never_shows_an_unseen_pair():
  assert len(shapes.UNSEEN_PAIRS) == 4 and len(shapes.OBJECTS) == 42
  for split in ('train', 'test'):
    assert not any(scene.unseen for scene in shapes.SPLITS[split])
  assert all(scene.unseen for scene in shapes.SPLITS['test_pairs'])


@pytest.mark.parametrize('scene, text', [
    (shapes.Scene(('red', 'circle')), 'a red circle'),
    (shapes.Scene(('orange', 'ring'), 'left of', ('blue', 'star')),
     'an orange ring left of a blue star'),
    (shapes.Scene(('blue', 'star'), 'below', ('orange', 'ring')),
     'a blue star below an orange ring')])
def test_captions_read_as_promised(scene, text):
  assert shapes.caption(scene) == text


def test_a_scene_can_be_told_from_either_object():
  for scene in shapes.SPLITS['train'][::7]:
    assert scene.mirrored().mirrored() == scene
    assert scene.mirrored().objects == scene.objects[::-1]


def test_every_object_of_a_scene_is_named_in_every_caption():
  for scene in shapes.SPLITS['train'][::101]:
    for said in [shapes.caption(scene), *shapes.paraphrases(scene)]:
      for colour, shape in scene.objects:
        assert colour in said and shape in said


def test_two_objects_lie_apart_and_their_relation_is_clear():
  rng = np.random.default_rng(0)
  for scene in shapes.SPLITS['train'][::25]:
    (x, y, r), (x2, y2, r2) = shapes.place(scene, rng)
    assert np.hypot(x - x2, y - y2) >= r + r2 + shapes.GAP
    for cx, cy, radius in ((x, y, r), (x2, y2, r2)):
      assert 5 <= radius <= 7.5
      assert radius <= cx <= 32 - radius and radius <= cy <= 32 - radius
    ahead = {'left of': x2 - x, 'right of': x - x2, 'above': y2 - y, 'below': y - y2}
    across = abs(y2 - y if scene.relation in ('left of', 'right of') else x2 - x)
    assert ahead[scene.relation] > across


@pytest.mark.parametrize('size', [(48, 32), (32, 80), (16, 16)])
def test_a_scene_lies_within_a_canvas_of_any_shape(size):
  rng, low = np.random.default_rng(0), 32 * np.array(size[::-1]) / min(size)
  centres = []
  for scene in [*shapes.ONE_OBJECT, *shapes.SPLITS['train'][::25]]:
    spots = shapes.place(scene, rng, size)
    for x, y, r in spots:
      assert 5 <= r <= 10 and r <= x <= low[0] - r and r <= y <= low[1] - r
      centres.append((x, y))
    if scene.second is not None:
      (x, y, r), (x2, y2, r2) = spots
      assert np.hypot(x - x2, y - y2) >= r + r2 + shapes.GAP
      ahead = {'left of': x2 - x, 'right of': x - x2, 'above': y2 - y, 'below': y - y2}
      across = abs(y2 - y if scene.relation in ('left of', 'right of') else x2 - x)
      assert ahead[scene.relation] > across
  assert (np.min(centres, 0) < 0.25 * low).all()  # and they use all of it
  assert (np.max(centres, 0) > 0.75 * low).all()


@pytest.mark.parametrize('size', [(48, 32), (16, 40), (64, 64)])
@pytest.mark.parametrize('shape', shapes.SHAPES)
def test_a_picture_of_any_shape_is_its_scene_and_nothing_else(shape, size):
  """One object: canvas and colour, mixed by the share of a pixel that it covers."""
  scene = shapes.Scene(('green', shape))
  picture = shapes.draw(scene, np.random.default_rng(4), size)
  (x, y, r), = shapes.place(scene, np.random.default_rng(4), size)
  covered = shapes.opacity(shape, x, y, r, size)
  assert picture.shape == (*size, 3) and covered.shape == size
  mixed = (np.float32(shapes.CANVAS) * (1 - covered[..., None])
           + np.float32(shapes.COLOURS['green']) * covered[..., None])
  np.testing.assert_allclose(picture, mixed, atol=1)
  scale, square = min(size) / 32, shapes.opacity(shape, 16, 16, r, (32, 32))
  np.testing.assert_allclose(covered.sum() / scale**2, square.sum(), rtol=0.05)  # whole
  if shape in ('circle', 'square', 'ring', 'cross'):
    middle = [(covered * (at + 0.5)).sum() / covered.sum() / scale
              for at in np.indices(size)]
    np.testing.assert_allclose(middle, (y, x), atol=0.15)


def test_squares_are_what_they_always_were():
  """The sum was made with the first version, which knew no height and width."""
  digest = hashlib.sha256()
  for split in shapes.SPLITS:
    for i in range(40):
      rng = np.random.default_rng((7, i))
      for scene in shapes.SPLITS[split][i::500]:
        digest.update(np.round(shapes.place(scene, rng), 9).tobytes())
      digest.update(shapes.example(split, i, (8, 8))['caption'].encode())
  assert digest.hexdigest()[:16] == 'd6a1a9b8ebb30484'


def test_pictures_are_what_they_were_before_there_were_skills():
  """The sum was made before skills.py was written: pixels, captions, order of tests."""
  digest = hashlib.sha256()
  for split in shapes.SPLITS:
    for i in range(60):
      item = shapes.example(split, i, (32, 32))
      digest.update(item['caption'].encode() + item['image'].tobytes())
  for kind in ('one object', 'two objects', 'unseen pairs'):
    for scene in scenes_of(kind, 70, 3):
      digest.update(shapes.caption(scene).encode())
  assert digest.hexdigest()[:16] == 'eb77e3ae6546034c'


@pytest.mark.parametrize('keys, name', [
    (dict(size=32), '32'), (dict(size=(32, 32)), '32'), (dict(size=(48, 32)), '48x32'),
    (dict(size=32, pictures=20_000, single_share=1.0), '32_20000_1')])
def test_sets_keep_their_names(keys, name, tmp_path):
  c = made.config(tmp_path, **dict(pictures=60_000) | keys)
  assert tfds.Shapes.builder(c).info.full_name == f'shapes/{name}/1.1.0'


@pytest.mark.parametrize('size', [12, (16, 4), (24, 36)])
def test_a_size_that_cannot_be_drawn_is_refused(size):
  with pytest.raises(ValueError) as error:
    shapes.ShapesConfig(name='x', size=size)
  assert f'config.data.size is {size}; shapes are drawn at 8' in str(error.value)


def test_a_set_of_another_shape_is_built_and_read_back(tmp_path):
  c = made.config(tmp_path, source='shapes', size=(24, 16), pictures=12)
  sources.prepare(c)
  written = sources.Pictures(c)
  drawn = [shapes.example('train', i, (24, 16)) for i in range(12)]
  content = [sorted(item['image'].tobytes() for item in items)
             for items in (drawn, map(written.decoded, range(12)))]
  assert content[0] == content[1]
  assert written[0]['image'].shape == (24, 16, 3)
  assert written[0]['sizes'].tolist() == [24, 16, 0, 0, 24, 16]


@pytest.mark.parametrize('size', [16, 32, 64])
def test_a_picture_has_the_colours_asked_for_on_its_canvas(size):
  scene = shapes.Scene(('red', 'square'), 'above', ('blue', 'circle'))
  picture = shapes.draw(scene, np.random.default_rng(1), (size, size))
  assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
  found = {tuple(p) for p in picture.reshape(-1, 3).tolist()}
  assert {shapes.CANVAS, shapes.COLOURS['red'], shapes.COLOURS['blue']} <= found


@pytest.mark.parametrize('shape, share', [('circle', np.pi), ('square', 4 * 0.82**2),
                                          ('triangle', 3**1.5 / 4),
                                          ('ring', np.pi * 3 / 4)])
def test_areas_are_those_of_geometry(shape, share):
  drawn = shapes.opacity(shape, 16, 16, 9).sum() / 81
  np.testing.assert_allclose(drawn, share, rtol=0.03)


def test_training_tells_most_scenes_forward_and_the_tests_all_alike():
  def share(split):
    said = [shapes.example(split, i, (8, 8))['caption'] for i in range(1500)]
    plain = [s for s in said if ' of a' in s or ' above ' in s or ' below ' in s]
    plain = [s for s in plain if s.startswith('a') and 'to the' not in s]
    forward = sum(' left of ' in s or ' above ' in s for s in plain)
    return forward / len(plain)
  assert abs(share('train') - shapes.FORWARD) < 0.05
  assert abs(share('test') - 0.5) < 0.05


def test_a_picture_of_a_split_is_always_the_same():
  for split in shapes.SPLITS:
    a, b = (shapes.example(split, 5, (32, 32)) for _ in range(2))
    assert a['caption'] == b['caption'] and (a['image'] == b['image']).all()


def test_the_built_split_is_what_was_drawn(pictures):
  assert len(pictures) == 256
  drawn = [shapes.example('train', i, (16, 16)) for i in range(256)]
  written = [pictures[i] for i in range(256)]
  def content(items):
    return sorted((item['caption'], item['image'].tobytes()) for item in items)
  assert content(drawn) == content(written)
  assert sorted(pictures.captions()) == sorted(item['caption'] for item in drawn)
