"""Pictures: encoded bytes to arrays of one size, and those to PNGs, grids and films.

An array is uint8 [h w c], of c = 3 colours or of c = 1, grey.
"""
import collections
import importlib.util
import io
import math
import warnings

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError
import numpy as np

from data.problems import Bad, refused

FORMATS = ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP', 'PPM', 'TIFF',  # told by content
           *['AVIF'] * (importlib.util.find_spec('PIL.AvifImagePlugin') is not None))
ENDINGS = ('.jpg', '.jpeg', '.png', '.webp', '.gif', '.bmp', '.tif', '.tiff',
           '.avif')  # where names count
MODES = {1: 'L', 3: 'RGB'}  # Pillow's, by the number of channels
MOST_PIXELS = 50_000_000  # of a picture to read; see also config.data.max_pixels
MOST_BYTES = 1 << 27      # of a file
Image.MAX_IMAGE_PIXELS = None  # Pillow's own cap only warns; `opened` has ours
warnings.filterwarnings('ignore', module=r'PIL\.')  # what is damaged is counted
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
         6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}
Decoded = collections.namedtuple('Decoded', 'image sizes')  # see `decode`


def opened(data: bytes, most: int = MOST_PIXELS, least: int = 1):
  """A Pillow picture of whose bytes only the header is read.

  Raises Bad for no bytes, no known format, more than `most` pixels, or a shorter side
  of less than `least`.
  """
  if not data:
    raise Bad('empty file')
  if len(data) > MOST_BYTES:
    raise Bad('file too large', f'{len(data):,} bytes')
  try:
    picture = Image.open(io.BytesIO(data), formats=FORMATS)
    w, h = picture.size
  except UnidentifiedImageError:
    raise Bad('not a picture') from None
  except Exception as e:  # a damaged header makes decoders raise anything
    raise Bad('damaged picture', str(e)) from e
  if w * h > most:
    raise Bad('too many pixels', f'{w} x {h}')
  if min(w, h) < least:
    raise Bad('too small', f'{w} x {h}')
  return picture


def height_width(size) -> tuple[int, int]:
  """(height, width) of config.data.size: pixels, or that pair; else ValueError."""
  pair = size if isinstance(size, tuple | list) else (size, size)
  if len(pair) != 2 or not all(type(n) is int and n > 0 for n in pair):
    raise refused('size', size, '; it must be a number of pixels above 0, or '
                  '(height, width).')
  return tuple(pair)


def largest_crop(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
  """(height, width) of the largest rectangle of the shape `shape` in a picture."""
  (height, width), (h, w) = size, shape
  if width * h >= height * w:
    return height, max(1, (2 * height * w + h) // (2 * h))  # rounded
  return max(1, (2 * width * h + w) // (2 * w)), width


def decode(data: bytes, size: tuple[int, int], channels: int = 3, *,
           place: float = 0.5, most: int = MOST_PIXELS, least: int = 1,
           original=None) -> Decoded:
  """Decodes a picture, crops the largest rectangle of a shape and resizes that.

  Returns (image: uint8 [h w channels], sizes: float32 [6]). The sizes are the
  micro-conditioning of SDXL, arXiv:2307.01952 section 2.2: height and width of the
  original, seen upright; top and left of the crop; height and width of the target. In
  pixels, the crop's in the original as resized to the target's scale.

  Of a film the first picture counts. EXIF rotation is applied; transparency is laid on
  white; 16 bits become the upper 8; palettes, greys and CMYK become RGB, and that, for
  one channel, the grey of ITU-R BT.601; colour profiles are not applied. The resize is
  Lanczos over an area, so nothing aliases. A JPEG at least twice too large is decoded
  at a half, quarter or eighth: its own cosine transform, cut to the lower frequencies,
  is the first part of the resize.

  Raises Bad as `opened` does, and where the decoder fails, as for a file cut short.

  size: height and width.
  place: of the crop along the side that is cut, from 0 to 1; 0.5 is the centre.
  original: height and width of the picture that `data` was resized from, if any.
  """
  h, w = size
  head = b'P%d\n%d %d\n255\n' % (5 if channels == 1 else 6, w, h)
  if min(size) >= least and data.startswith(head) and (  # PPM: nothing to decode
      len(data) == len(head) + channels * h * w):
    image = np.frombuffer(data, np.uint8, -1, len(head)).reshape(h, w, channels)
    return Decoded(image, np.array((*(original or size), 0, 0, h, w), np.float32))
  picture, stored = upright(opened(data, most, least), size, channels)
  width, height = picture.size
  crop_h, crop_w = largest_crop((height, width), size)
  top = int((height - crop_h) * place + 0.5)
  left = int((width - crop_w) * place + 0.5)
  if (crop_h, crop_w) != (height, width):
    picture = picture.crop((left, top, left + crop_w, top + crop_h))
  picture = picture.resize((w, h), Image.Resampling.LANCZOS, reducing_gap=3.0)
  sizes = (*(original or stored), top * h / crop_h, left * w / crop_w, h, w)
  return Decoded(np.asarray(picture).reshape(h, w, channels),
                 np.array(sizes, np.float32))


def shrunk(data: bytes, size: tuple[int, int], channels: int = 3, *, most: int,
           least: int):
  """Decodes a picture and brings it down until it just covers (height, width).

  At best quality: a JPEG is decoded at least twice too large, then resized by Lanczos.
  Its aspect stays, and what is small enough keeps its size.

  Returns (a picture of Pillow's, RGB or grey; 'JPEG', 'PNG' or so if `data` is already
  that picture in that format, else None; height and width of the original, upright).
  """
  h, w = size
  picture = opened(data, most, least)
  other = picture.has_transparency_data or 'exif' in picture.info
  kind = None if other or picture.mode != MODES[channels] else picture.format
  picture, stored = upright(picture, (2 * h, 2 * w), channels)
  width, height = picture.size
  if width <= w or height <= h:
    return picture, kind, stored
  new = (w, max(h, round(height * w / width))) if width * h < height * w else (
      max(w, round(width * h / height)), h)
  return picture.resize(new, Image.Resampling.LANCZOS, reducing_gap=3.0), None, stored


def upright(picture, size: tuple[int, int], channels: int):
  """Decodes a picture into RGB or grey, turned as its EXIF says.

  Of a JPEG, height and width of `size` are enough. Returns (a Pillow picture, height
  and width of the whole one, turned). Raises Bad where the decoder fails.
  """
  try:
    exif = picture.getexif() if 'exif' in picture.info else {}
    turn = TURNS.get(exif.get(ORIENTATION))
    lying = turn and exif[ORIENTATION] >= 5  # height and width are exchanged
    stored = picture.size if lying else picture.size[::-1]
    picture.draft(None, size if lying else size[::-1])
    picture = rgb(picture if turn is None else picture.transpose(turn))
    return picture if channels == 3 else picture.convert('L'), stored
  except Exception as e:
    raise Bad('damaged picture', str(e)) from e


def rgb(picture):
  """Any mode of Pillow's -> RGB; ValueError for numbers that no range is known of."""
  if picture.mode == 'F':
    raise ValueError('pixels are floating-point numbers')
  if picture.mode.startswith('I'):  # grey, 16 bits
    picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
  if picture.has_transparency_data:
    ground = Image.new('RGBA', picture.size, 'white')
    picture = Image.alpha_composite(ground, picture.convert('RGBA'))
  picture.load()
  return picture if picture.mode == 'RGB' else picture.convert('RGB')


def read(path: str, size: tuple[int, int], channels: int = 3) -> np.ndarray:
  """Reads a picture, cropped to the middle: uint8 [h w channels] of `size`, (h, w).

  Raises ValueError for no picture, or one of more than MOST_PIXELS.
  """
  with open(path, 'rb') as f:
    data = f.read(MOST_BYTES + 1)
  try:
    return decode(data, size, channels, most=MOST_PIXELS).image
  except Bad as e:
    raise ValueError(f'{path} cannot be read: {e}.') from e


def grid(pictures: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
  """Lays pictures uint8 [b h w c] out row by row on white: uint8 [H W c]."""
  b, h, w, c = pictures.shape
  rows = math.ceil(b / columns)
  sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, c), 255, np.uint8)
  for i, picture in enumerate(pictures):
    y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
    sheet[y:y + h, x:x + w] = picture
  return sheet


def captioned(pictures: np.ndarray, captions: list[str], columns: int) -> np.ndarray:
  """Rows of `columns` pictures each, a caption over each row: uint8 [H W 3].

  Small pictures are enlarged by whole factors, so that a person can see their pixels.
  """
  pictures = as_colours(pictures)
  zoom = max(1, 96 // pictures.shape[1])
  pictures = pictures.repeat(zoom, 1).repeat(zoom, 2)
  font, rows = ImageFont.load_default(15), []
  for i, text in enumerate(captions):
    row = grid(pictures[i * columns:(i + 1) * columns], columns, gap=4)
    label = Image.new('RGB', (row.shape[1], 22), 'white')
    while font.getlength(text) > row.shape[1] - 8 and len(text) > 4:
      text = text[:-4] + '...'
    ImageDraw.Draw(label).text((5, 3), text, fill='black', font=font)
    rows += [np.asarray(label), row]
  return np.concatenate(rows)


def as_colours(pictures: np.ndarray) -> np.ndarray:
  """[... c] -> [... 3]: grey becomes three channels alike."""
  return pictures.repeat(3 // pictures.shape[-1], -1)


def pillow(picture: np.ndarray):
  """uint8 [h w c] as Pillow has it: RGB, or grey of one channel."""
  return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def write_png(path: str, picture: np.ndarray, notes: dict):
  """Writes uint8 [h w c] with `notes` (str -> str) as text chunks."""
  info = PngImagePlugin.PngInfo()
  for key, value in notes.items():
    info.add_itxt(key, value)
  pillow(picture).save(path, 'PNG', pnginfo=info)


def write_gif(path: str, frames: np.ndarray, seconds: float = 3.0):
  """Writes uint8 [n h w c] as an endless film whose last frame stands for a second."""
  pictures = [pillow(frame) for frame in frames]
  each = max(20, round(1000 * seconds / len(frames)))  # ms; players ignore less than 20
  pictures[0].save(path, 'GIF', save_all=True, append_images=pictures[1:], loop=0,
                   duration=[each] * (len(frames) - 1) + [1000])
