"""What is written reads back, what is cropped is where it says, the rest is refused."""
import io

import numpy as np
from PIL import Image, ImageOps
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


@pytest.mark.parametrize('size', [(4, 4), (8, 4), (3, 3)])
def test_reads_the_middle(size, tmp_path):
  wide = np.zeros((10, 30, 3), np.uint8)
  wide[:, 10:20] = (10, 200, 30)
  Image.fromarray(wide).save(tmp_path / 'wide.png')
  found = images.read(str(tmp_path / 'wide.png'), size)
  assert found.shape == (*size, 3) and (found == (10, 200, 30)).all()


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
  (tmp_path / 'a.png').write_text('<html>')
  with pytest.raises(ValueError, match='a.png cannot be read: not a picture'):
    images.read(str(tmp_path / 'a.png'), (8, 8))
  Image.new('RGB', (40, 40)).save(tmp_path / 'big.png')
  monkeypatch.setattr(images, 'MOST_PIXELS', 1000)
  with pytest.raises(ValueError, match='too many pixels: 40 x 40'):
    images.read(str(tmp_path / 'big.png'), (8, 8))


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


def sixteen(kind='PNG'):
  ramp = np.where(np.arange(32) < 16, 40 << 8, 200 << 8).astype(np.uint16)
  return stored(Image.fromarray(np.tile(ramp, (32, 1))), kind)


def alpha():
  picture = halves().convert('RGBA')
  picture.paste((0, 0, 0, 0), (16, 0, 32, 32))  # black under no ink
  return stored(picture)


@pytest.mark.parametrize('data, left, right', [
    (stored(halves(), 'JPEG', quality=100, subsampling=0), (220, 30, 30),
     (30, 30, 220)),
    (stored(halves(), 'WEBP', lossless=True), (220, 30, 30), (30, 30, 220)),
    (stored(halves(), 'BMP'), (220, 30, 30), (30, 30, 220)),
    (stored(halves(), 'TIFF', compression='tiff_lzw'), (220, 30, 30), (30, 30, 220)),
    (stored(halves(), 'AVIF', quality=100), (220, 30, 30), (30, 30, 220)),
    (stored(halves(), 'PPM'), (220, 30, 30), (30, 30, 220)),
    (cmyk(), (220, 30, 30), (30, 30, 220)),
    (palette(), (220, 30, 30), (30, 30, 220)),
    (gif(), (220, 30, 30), (30, 30, 220)),
    (sixteen(), (40, 40, 40), (200, 200, 200)),
    (sixteen('TIFF'), (40, 40, 40), (200, 200, 200)),
    (alpha(), (220, 30, 30), (255, 255, 255)),
    (stored(halves().convert('L')), (86, 86, 86), (52, 52, 52)),
    (stored(halves().convert('LA')), (86, 86, 86), (52, 52, 52)),
    (stored(halves().convert('1', dither=0)), (0, 0, 0), (0, 0, 0)),
], ids=['jpeg', 'webp', 'bmp', 'tiff', 'avif', 'ppm', 'cmyk', 'palette', 'gif',
        '16 bits', '16 bits in tiff', 'alpha', 'grey', 'grey alpha', 'one bit'])
@pytest.mark.parametrize('size', [32, 8])
def test_every_mode_becomes_rgb(data, left, right, size):
  image = images.decode(data, (size, size)).image
  assert image.shape == (size, size, 3) and image.dtype == np.uint8
  inner = image.astype(int)
  assert np.abs(inner[:, :size // 4] - left).max() <= 6
  assert np.abs(inner[:, -(size // 4):] - right).max() <= 6


@pytest.mark.parametrize('kind', ['JPEG', 'TIFF', 'AVIF'])
@pytest.mark.parametrize('orientation', range(1, 10))  # 9 means nothing
def test_exif_turns_the_picture(orientation, kind):
  picture = halves((32, 32))
  picture.paste((250, 250, 0), (0, 24, 32, 32))  # below both halves
  exif = Image.Exif()
  exif[images.ORIENTATION] = orientation
  options = {} if kind == 'TIFF' else {'quality': 100, 'subsampling': '4:4:4'}
  data = stored(picture, kind, exif=exif, **options)
  expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
  np.testing.assert_array_equal(images.decode(data, (32, 32)).image,
                                np.asarray(expected))


def test_the_place_of_the_crop():
  wide = Image.new('RGB', (90, 30), 'black')
  wide.paste((0, 200, 0), (60, 0, 90, 30))
  for place, green in ((0.0, 0), (0.5, 0), (1.0, 200)):
    image = images.decode(stored(wide), (30, 30), place=place).image
    assert (image == (0, green, 0)).all()


def smooth(rng, height, width):
  """A random picture without sharp edges."""
  coarse = rng.integers(0, 256, (height // 9 + 2, width // 9 + 2, 3), np.uint8)
  return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def test_a_crop_is_the_largest_of_its_shape_resized(seed=3):
  """Against a rectangle found in real numbers, and Pillow's exact resize of it."""
  rng = np.random.default_rng(seed)
  for _ in range(60):
    height, width, h, w = (int(n) for n in rng.integers(8, 120, 4))
    case = f'seed {seed}: {height} x {width} to {h} x {w}'
    picture, place = smooth(rng, height, width), rng.random()
    largest = np.array((h, w)) * min(height / h, width / w)
    crop = np.floor(largest + 0.5 + 1e-9)  # to whole pixels
    corner = np.floor(((height, width) - crop) * place + 0.5)
    assert (crop >= 1).all() and (corner + crop <= (height, width)).all()
    cut = picture.crop((*corner[::-1], *(corner + crop)[::-1]))
    expected = np.asarray(cut.resize((w, h), Image.Resampling.LANCZOS))
    image, sizes = images.decode(stored(picture), (h, w), place=place)
    assert image.shape == (h, w, 3) and image.dtype == np.uint8, case
    error = np.abs(image.astype(int) - expected)  # of shrinking in two steps
    assert error.mean() < 2 and error.max() < 25, case
    found = height, width, *(corner * (h, w) / crop), h, w
    np.testing.assert_allclose(sizes, found, rtol=1e-6, err_msg=case)


def test_squares_are_cut_as_they_always_were(seed=5):
  """Bit for bit the rule of the first version: whole pixels, then one resize."""
  rng = np.random.default_rng(seed)
  for _ in range(60):
    height, width, size = (int(n) for n in rng.integers(1, 120, 3))
    picture, place = smooth(rng, height, width), rng.random()
    side = min(height, width)
    left = int((width - side) * place + 0.5)
    top = int((height - side) * place + 0.5)
    expected = picture.crop((left, top, left + side, top + side))
    if side != size:
      expected = expected.resize((size, size), Image.Resampling.LANCZOS,
                                 reducing_gap=3.0)
    image = images.decode(stored(picture), (size, size), place=place).image
    np.testing.assert_array_equal(image, np.asarray(expected), f'seed {seed}')


@pytest.mark.parametrize('orientation, back', [
    (1, None), (3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90)])
@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
def test_the_crop_is_where_sizes_say(kind, orientation, back, seed=11):
  """Red grows to the right, green down: the pixels tell where they come from."""
  rng = np.random.default_rng(seed)
  options = {'quality': 100, 'subsampling': 0} if kind == 'JPEG' else {}
  for _ in range(8):
    # Whole blocks of a JPEG, which at an eighth has whole pixels of 8 by 8 only.
    (height, width), (h, w) = 8 * rng.integers(15, 62, 2), rng.integers(20, 60, 2)
    case = f'seed {seed}: {height} x {width} to {h} x {w}'
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.round(np.linspace(0, 255, width))
    ramp[..., 1] = np.round(np.linspace(0, 255, height))[:, None]
    picture, exif = Image.fromarray(ramp), Image.Exif()
    exif[images.ORIENTATION] = orientation
    picture = picture if back is None else picture.transpose(back)
    image, sizes = images.decode(stored(picture, kind, exif=exif, **options),
                                 (int(h), int(w)), place=rng.random())
    np.testing.assert_array_equal(sizes[[0, 1, 4, 5]], (height, width, h, w), case)
    for values, whole, offset in ((image[..., 0].mean(0), width, sizes[3]),
                                  (image[..., 1].mean(1), height, sizes[2])):
      at = np.arange(len(values)) + 0.5  # where the pixels' middles are, in the crop
      slope, first = np.polyfit(at[2:-2], values[2:-2], 1)
      # A value v is that of column v / 255 * (whole - 1), whose middle is half on.
      start = (first / 255 * (whole - 1) + 0.5) / (slope / 255 * (whole - 1))
      np.testing.assert_allclose(start, offset, atol=0.3, rtol=0.04, err_msg=case)


def test_what_was_resized_before_knows_its_original():
  image, sizes = images.decode(stored(halves((40, 20))), (20, 30), original=(200, 400))
  assert image.shape == (20, 30, 3) and sizes.dtype == np.float32
  assert sizes.tolist() == [200, 400, 0, 5, 20, 30]
  plain = b'P6\n3 2\n255\n' + bytes(range(18))
  image, sizes = images.decode(plain, (2, 3))
  np.testing.assert_array_equal(image, np.arange(18).reshape(2, 3, 3))
  assert sizes.tolist() == [2, 3, 0, 0, 2, 3]
  assert images.decode(plain, (2, 3), original=(8, 12)).sizes[:2].tolist() == [8, 12]


@pytest.mark.parametrize('size, expected', [
    (32, (32, 32)), ((48, 32), (48, 32)), ([48, 32], (48, 32)), (0, None), (-4, None),
    ((3, 0), None), ((3,), None), ((1, 2, 3), None), ('32', None), (2.0, None),
    (True, None)])
def test_a_size_is_pixels_or_height_and_width(size, expected):
  if expected:
    assert images.height_width(size) == expected
    return
  with pytest.raises(ValueError, match='config.data.size is '):
    images.height_width(size)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG'])
@pytest.mark.parametrize('side', [64, 128, 250])
def test_stripes_too_fine_for_the_size_become_grey(kind, side):
  """No alias: what is above the new Nyquist frequency must vanish."""
  stripes = np.zeros((side, side, 3), np.uint8)
  stripes[:, ::2] = 255
  options = {'quality': 100, 'subsampling': 0} if kind == 'JPEG' else {}
  data = stored(Image.fromarray(stripes), kind, **options)
  image = images.decode(data, (32, 32)).image
  assert np.abs(image[4:-4, 4:-4].astype(int) - 127).max() <= 12


@pytest.mark.parametrize('cut', [1, 100, 1000, -1, -200])
@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'WEBP', 'GIF', 'TIFF', 'AVIF'])
def test_a_file_cut_short_is_bad_or_whole(kind, cut):
  rng = np.random.default_rng(0)
  data = stored(Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)), kind)
  try:
    whole = images.decode(data, (64, 64)).image
    assert (images.decode(data[:cut], (64, 64)).image == whole).all()
  except Bad as e:
    assert e.reason in ('not a picture', 'damaged picture')
  else:
    assert cut == -1  # only the mark of the end was missing


def test_flipped_bits_raise_nothing_but_bad():
  rng = np.random.default_rng(0)
  for kind in images.FORMATS:
    data = stored(halves((40, 20)), kind)
    for _ in range(150):
      broken = bytearray(data)
      for at in rng.integers(0, len(data), 3):
        broken[at] ^= 1 << rng.integers(8)
      try:
        assert images.decode(bytes(broken), (16, 24)).image.shape == (16, 24, 3)
      except Bad:
        pass


# One channel.

def of_mode(mode: str):
  """A picture of one colour in a mode of Pillow's, and the grey that it is.

  BT.601: 0.299 R + 0.587 G + 0.114 B; transparency is laid on white before that.
  """
  r, g, b = 200, 40, 90
  grey = 0.299 * r + 0.587 * g + 0.114 * b
  if mode == 'L':
    return Image.new('L', (24, 16), 77), 77
  if mode == '1':
    return Image.new('1', (24, 16), 1), 255
  if mode == 'I;16':
    return Image.fromarray(np.full((16, 24), 77 * 256 + 200, np.uint16)), 77
  if mode == 'LA':
    return Image.new('LA', (24, 16), (77, 51)), 77 * 0.2 + 255 * 0.8
  if mode == 'RGBA':
    return Image.new('RGBA', (24, 16), (r, g, b, 51)), grey * 0.2 + 255 * 0.8
  picture = Image.new('RGB', (24, 16), (r, g, b))
  return picture.convert(mode, palette=Image.Palette.ADAPTIVE), grey


@pytest.mark.parametrize('mode', ['L', '1', 'I;16', 'LA', 'RGB', 'RGBA', 'P'])
def test_any_picture_is_grey_with_one_channel(mode):
  picture, grey = of_mode(mode)
  image, sizes = images.decode(stored(picture), (8, 12), 1)
  assert image.shape == (8, 12, 1) and image.dtype == np.uint8
  np.testing.assert_allclose(image, grey, atol=1)
  assert sizes.tolist() == [16, 24, 0, 0, 8, 12]
  colours = images.decode(stored(picture), (8, 12)).image
  np.testing.assert_allclose(
      image[..., 0], colours @ np.array([0.299, 0.587, 0.114]), atol=1.1)


def test_grey_that_needs_no_resize_keeps_every_value():
  values = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
  for kind in ('PNG', 'PPM'):
    data = stored(Image.fromarray(values), kind)
    image = images.decode(data, (8, 12), 1).image
    np.testing.assert_array_equal(image[..., 0], values)
    colours = images.decode(data, (8, 12)).image
    np.testing.assert_array_equal(colours, image.repeat(3, 2))
  assert images.decode(data, (8, 12), 1).image.base is not None  # as it was stored


def test_grey_pictures_are_written_as_grey(some, tmp_path):
  grey = some[..., :1]
  images.write_png(str(tmp_path / 'a.png'), grey[0], {'seed': '3'})
  with Image.open(tmp_path / 'a.png') as picture:
    assert picture.mode == 'L' and picture.text == {'seed': '3'}
    np.testing.assert_array_equal(np.asarray(picture), grey[0, ..., 0])
  np.testing.assert_array_equal(images.grid(grey, 3), images.grid(some, 3)[..., :1])
  sheet = images.captioned(grey[:4], ['a', 'b'], 2)
  np.testing.assert_array_equal(sheet, images.captioned(grey[:4].repeat(3, -1),
                                                        ['a', 'b'], 2))
  images.write_gif(str(tmp_path / 'a.gif'), grey)
  with Image.open(tmp_path / 'a.gif') as film:
    np.testing.assert_array_equal(np.asarray(film.convert('L')), grey[0, ..., 0])


def test_a_file_is_read_as_grey(tmp_path):
  halves().save(tmp_path / 'a.png')
  found = images.read(str(tmp_path / 'a.png'), (4, 8), 1)
  assert found.shape == (4, 8, 1)
  expected = [0.299 * r + 0.587 * 30 + 0.114 * b for r, b in ((220, 30), (30, 220))]
  np.testing.assert_allclose(found[:, [0, -1], 0], [expected] * 4, atol=1)
