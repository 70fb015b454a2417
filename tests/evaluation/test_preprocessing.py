"""Pictures come to a network as each reference brings them there, of odd sizes, too."""
import numpy as np
import pytest

from evaluation.features import networks, preprocessing
from helpers import references, seeded

STEP = 23  # of the pixels in the fixture
REFERENCES = {  # the network's size, and how far rounding may lead
    'adm': (299, 0), 'pytorch_fid': (299, 1e-6), 'legacy_pytorch': (299, 1e-6),
    'clean_fid': (299, 0), 'clean_fid_uint8': (299, 0), 'dinov2': (224, 0),
    'edm2': (224, 5e-6), 'clip': (224, 0), 'clip_floor': (224, 0), 'cmmd': (336, 0),
    'hpsv2': (224, 0)}
with np.load(references.FIXTURES / 'features.npz') as file:
  WANTED = {key.removeprefix('preprocessing/'): file[key] for key in file
            if key.startswith('preprocessing/')}


@pytest.mark.parametrize('key', WANTED)
def test_a_preprocessing_is_that_of_its_reference(key):
  name, _, size = key.partition('/')
  h, w = map(int, size.split('x'))
  s, atol = REFERENCES[name]
  row = {'legacy_pytorch': 'pytorch_fid'}.get(name, name)  # clean-fid's is that
  out = preprocessing.PREPROCESSINGS[row](seeded.pictures(1, h, w, 3), s)
  assert out.shape == (1, s, s, 3)
  want = WANTED[key]
  assert out.dtype == (np.uint8 if want.dtype == np.uint8 else np.float32)
  got = np.float32(out[0, ::STEP, ::STEP])
  np.testing.assert_allclose(got, want, rtol=0, atol=atol)


def test_each_is_held_to_a_reference_and_belongs_to_a_network():
  of_rows = {p for row in networks.FEATURES.values() for p in row.preprocessings}
  assert of_rows == set(preprocessing.PREPROCESSINGS)
  assert {*REFERENCES, 'box', 'lpips'} == {
      *preprocessing.PREPROCESSINGS, 'legacy_pytorch'}


@pytest.mark.parametrize('name', preprocessing.PREPROCESSINGS)
def test_a_batch_is_its_pictures_one_by_one(name):
  row, size = preprocessing.PREPROCESSINGS[name], 64
  images = seeded.pictures(3, 41, 30, 3)
  alone = np.concatenate([row(images[i:i + 1], size) for i in range(3)])
  np.testing.assert_array_equal(row(images, size), alone)


def test_box_is_the_mean_of_what_a_pixel_covers():
  images = seeded.pictures(2, 12, 20, 3)
  means = images.reshape(2, 4, 3, 4, 5, 3).mean((2, 4))  # 4 x 4 of 3 x 5 each
  # Pillow rounds twice, rows and columns by themselves: half a level each.
  assert np.abs(preprocessing.box(images, 4) - means).max() < 1.001


def test_lpips_is_the_range_alone():
  x = np.uint8([0, 255])[:, None, None, None] * np.ones((1, 5, 7, 3), np.uint8)
  out = preprocessing.lpips(x, 0)
  assert out.dtype == np.float32 and (out[0] == -1).all() and (out[1] == 1).all()
