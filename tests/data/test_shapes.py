"""The shapes world keeps what docs say of it."""
import numpy as np
import pytest

from data.sources import shapes


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


@pytest.mark.parametrize('size', [16, 32, 64])
def test_a_picture_has_the_colours_asked_for_on_its_canvas(size):
  scene = shapes.Scene(('red', 'square'), 'above', ('blue', 'circle'))
  picture = shapes.draw(scene, np.random.default_rng(1), size)
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
    said = [shapes.example(split, i, 8)['caption'] for i in range(1500)]
    plain = [s for s in said if ' of a' in s or ' above ' in s or ' below ' in s]
    plain = [s for s in plain if s.startswith('a') and 'to the' not in s]
    forward = sum(' left of ' in s or ' above ' in s for s in plain)
    return forward / len(plain)
  assert abs(share('train') - shapes.FORWARD) < 0.05
  assert abs(share('test') - 0.5) < 0.05


def test_a_picture_of_a_split_is_always_the_same():
  for split in shapes.SPLITS:
    a, b = shapes.example(split, 5, 32), shapes.example(split, 5, 32)
    assert a['caption'] == b['caption'] and (a['image'] == b['image']).all()


def test_the_built_split_is_what_was_drawn(pictures):
  assert len(pictures) == 256
  drawn = [shapes.example('train', i, 16) for i in range(256)]
  written = [pictures[i] for i in range(256)]
  def content(items):
    return sorted((item['caption'], item['image'].tobytes()) for item in items)
  assert content(drawn) == content(written)
  assert sorted(pictures.captions()) == sorted(item['caption'] for item in drawn)
