"""What is written reads back, and what is no picture is refused."""
import io

import numpy as np
from PIL import Image
import pytest

from data import images
from data.problems import Bad


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
  with pytest.raises(ValueError, match='a.png cannot be read: not a picture'):
    images.read(str(tmp_path / 'a.png'), 8)
  Image.new('RGB', (40, 40)).save(tmp_path / 'big.png')
  monkeypatch.setattr(images, 'MOST_PIXELS', 1000)
  with pytest.raises(ValueError, match='too many pixels: 40 x 40'):
    images.read(str(tmp_path / 'big.png'), 8)


def stored(picture, kind='PNG', **options) -> bytes:
  data = io.BytesIO()
  picture.save(data, kind, **options)
  return data.getvalue()


def halves(size=(32, 32)):
  """Red on the left, blue on the right."""
  picture = Image.new('RGB', size, (220, 30, 30))
  picture.paste((30, 30, 220), (size[0] // 2, 0, *size))
  return picture


def cmyk():
  return stored(halves().convert('CMYK'), 'JPEG', quality=100)


def palette():
  return stored(halves().quantize(8))


def gif():
  return stored(halves(), 'GIF', save_all=True,
                append_images=[Image.new('RGB', (32, 32), 'white')])


def sixteen():
  ramp = np.where(np.arange(32) < 16, 40 << 8, 200 << 8).astype(np.uint16)
  return stored(Image.fromarray(np.tile(ramp, (32, 1))))


def alpha():
  picture = halves().convert('RGBA')
  picture.paste((0, 0, 0, 0), (16, 0, 32, 32))  # black under no ink
  return stored(picture)


@pytest.mark.parametrize('data, left, right', [
    (stored(halves(), 'JPEG', quality=100, subsampling=0), (220, 30, 30),
     (30, 30, 220)),
    (stored(halves(), 'WEBP', lossless=True), (220, 30, 30), (30, 30, 220)),
    (stored(halves(), 'BMP'), (220, 30, 30), (30, 30, 220)),
    (stored(halves(), 'PPM'), (220, 30, 30), (30, 30, 220)),
    (cmyk(), (220, 30, 30), (30, 30, 220)),
    (palette(), (220, 30, 30), (30, 30, 220)),
    (gif(), (220, 30, 30), (30, 30, 220)),
    (sixteen(), (40, 40, 40), (200, 200, 200)),
    (alpha(), (220, 30, 30), (255, 255, 255)),
    (stored(halves().convert('L')), (86, 86, 86), (52, 52, 52)),
    (stored(halves().convert('LA')), (86, 86, 86), (52, 52, 52)),
    (stored(halves().convert('1', dither=0)), (0, 0, 0), (0, 0, 0)),
], ids=['jpeg', 'webp', 'bmp', 'ppm', 'cmyk', 'palette', 'gif', '16 bits', 'alpha',
        'grey', 'grey alpha', 'one bit'])
@pytest.mark.parametrize('size', [32, 8])
def test_every_mode_becomes_rgb(data, left, right, size):
  image = images.decode(data, size)
  assert image.shape == (size, size, 3) and image.dtype == np.uint8
  inner = image.astype(int)
  assert np.abs(inner[:, :size // 4] - left).max() <= 6
  assert np.abs(inner[:, -(size // 4):] - right).max() <= 6


def test_exif_turns_the_picture():
  upright = np.asarray(images.decode(stored(halves()), 32)).astype(int)
  for orientation, turn in images.TURNS.items():
    # Stored as seen after the inverse of the turn, so that the turn brings it back.
    inverse = {Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
               Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90}.get(turn, turn)
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    data = stored(halves().transpose(inverse), 'JPEG', quality=100, subsampling=0,
                  exif=exif)
    assert np.abs(images.decode(data, 32) - upright).max() <= 6, orientation


def test_the_place_of_the_square():
  wide = Image.new('RGB', (90, 30), 'black')
  wide.paste((0, 200, 0), (60, 0, 90, 30))
  for place, green in ((0.0, 0), (0.5, 0), (1.0, 200)):
    assert (images.decode(stored(wide), 30, place=place) == (0, green, 0)).all()


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
@pytest.mark.parametrize('side', [64, 128, 250])
def test_stripes_too_fine_for_the_size_become_grey(kind, side):
  """No alias: what is above the new Nyquist frequency must vanish."""
  stripes = np.zeros((side, side, 3), np.uint8)
  stripes[:, ::2] = 255
  options = {'quality': 100, 'subsampling': 0} if kind == 'JPEG' else {}
  image = images.decode(stored(Image.fromarray(stripes), kind, **options), 32)
  assert np.abs(image[4:-4, 4:-4].astype(int) - 127).max() <= 12


@pytest.mark.parametrize('cut', [1, 100, 1000, -1, -200])
@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP', 'GIF'])
def test_a_file_cut_short_is_bad_or_whole(kind, cut):
  rng = np.random.default_rng(0)
  data = stored(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
  try:
    whole = images.decode(data, 64)
    assert (images.decode(data[:cut], 64) == whole).all()
  except Bad as e:
    assert e.reason in ('not a picture', 'damaged picture')
  else:
    assert cut == -1  # only the mark of the end was missing


def test_flipped_bits_raise_nothing_but_bad():
  rng = np.random.default_rng(0)
  for kind in ('PNG', 'JPEG', 'WEBP', 'GIF', 'BMP', 'PPM'):
    data = stored(halves((40, 20)), kind)
    for _ in range(150):
      broken = bytearray(data)
      for at in rng.integers(0, len(data), 3):
        broken[at] ^= 1 << rng.integers(8)
      try:
        assert images.decode(bytes(broken), 16).shape == (16, 16, 3)
      except Bad:
        pass
