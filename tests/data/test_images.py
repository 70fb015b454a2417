"""What is written reads back, and what is no picture is refused."""
import numpy as np
from PIL import Image
import pytest

from data import images


@pytest.fixture
def some():
  return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


def test_a_grid_holds_every_picture_in_its_place(some):
  sheet = images.grid(some, 3, gap=2)
  assert sheet.shape == (2 * 10 + 2, 3 * 10 + 2, 3)
  for i in range(5):
    y, x = 2 + i // 3 * 10, 2 + i % 3 * 10
    assert (sheet[y:y + 8, x:x + 8] == some[i]).all()
  assert (sheet[12:20, 22:30] == 255).all()


def test_a_png_carries_its_notes(some, tmp_path):
  path = str(tmp_path / 'a.png')
  images.write_png(path, some[0], {'prompt': 'ein Märchen\n東京', 'seed': '3'})
  with Image.open(path) as picture:
    assert (np.asarray(picture) == some[0]).all()
    assert picture.text == {'prompt': 'ein Märchen\n東京', 'seed': '3'}


def test_a_film_has_all_its_frames(tmp_path):
  frames = np.stack([np.full((8, 8, 3), v, np.uint8) for v in (0, 80, 160, 240)])
  path = str(tmp_path / 'a.gif')
  images.write_gif(path, frames)
  with Image.open(path) as film:
    assert film.n_frames == 4 and film.info['loop'] == 0
    film.seek(3)
    np.testing.assert_allclose(np.asarray(film.convert('RGB')), 240, atol=8)


def test_reads_the_central_square(tmp_path):
  wide = np.zeros((10, 30, 3), np.uint8)
  wide[:, 10:20] = (10, 200, 30)
  Image.fromarray(wide).save(tmp_path / 'wide.png')
  assert (images.read(str(tmp_path / 'wide.png'), 4) == (10, 200, 30)).all()


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
  (tmp_path / 'a.png').write_text('<html>')
  with pytest.raises(ValueError, match='not a picture'):
    images.read(str(tmp_path / 'a.png'), 8)
  Image.new('RGB', (40, 40)).save(tmp_path / 'big.png')
  monkeypatch.setattr(images, 'MOST_PIXELS', 1000)
  with pytest.raises(ValueError, match='1600 pixels'):
    images.read(str(tmp_path / 'big.png'), 8)
