"""Pictures: from encoded bytes to RGB squares, and to PNGs, grids and films."""
import io
import math

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin, UnidentifiedImageError
import numpy as np

from data.problems import Bad

FORMATS = ('JPEG', 'PNG', 'WEBP', 'GIF', 'BMP', 'PPM')  # told by what is in them
MOST_PIXELS = 50_000_000  # of a picture to read; see also config.data.max_pixels
MOST_BYTES = 1 << 27      # of a file
Image.MAX_IMAGE_PIXELS = None  # Pillow's own cap only warns; `opened` has ours
ORIENTATION = 0x0112  # the EXIF tag
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
         4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
         6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}


def opened(data: bytes, most: int = MOST_PIXELS, least: int = 1):
  """A Pillow picture of whose bytes only the header is read.

  Args:
    most: pixels of a picture.
    least: pixels of its shorter side.

  Raises:
    Bad: empty, of no known format, or of a size out of range.
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


def decode(data: bytes, size: int, *, place: float = 0.5, most: int = MOST_PIXELS,
           least: int = 1) -> np.ndarray:
  """Decodes a picture, cuts the largest square out of it and resizes that.

  Of a film the first picture counts. EXIF rotation is applied; transparency is laid on
  white; 16 bits become the upper 8; palettes, greys and CMYK become RGB; colour
  profiles are not applied. The resize is Lanczos over an area, so nothing aliases. A
  JPEG at least twice too large is decoded at a half, quarter or eighth: its own cosine
  transform, cut to the lower frequencies, is the first part of the resize.

  Args:
    place: of the square along the longer side, from 0 to 1; 0.5 is the centre.

  Returns:
    uint8 [size size 3].

  Raises:
    Bad: see `opened`; or the decoder fails, as it does for a file cut short.
  """
  head = b'P6\n%d %d\n255\n' % (size, size)  # PPM: nothing to decode
  if data.startswith(head) and len(data) == len(head) + 3 * size**2 and size >= least:
    return np.frombuffer(data, np.uint8, -1, len(head)).reshape(size, size, 3)
  picture = opened(data, most, least)
  try:
    picture.draft(None, (size, size))
    picture = rgb(upright(picture))
  except Exception as e:
    raise Bad('damaged picture', str(e)) from e
  w, h = picture.size
  side = min(w, h)
  left, top = int((w - side) * place + 0.5), int((h - side) * place + 0.5)
  if w != h:
    picture = picture.crop((left, top, left + side, top + side))
  if side != size:
    picture = picture.resize((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
  return np.asarray(picture)


def shrunk(data: bytes, size: int, *, most: int = MOST_PIXELS, least: int = 1):
  """Decodes a picture and brings its shorter side down to `size`, if it is longer.

  At best quality: a JPEG is decoded at least twice too large, then resized by Lanczos.

  Returns:
    (an RGB picture of Pillow's, 'JPEG', 'PNG' or so if `data` is already that picture
    in that format, else None).
  """
  picture = opened(data, most, least)
  kind, turned = picture.format, 'exif' in picture.info
  plain = picture.mode == 'RGB' and not picture.has_transparency_data and not turned
  try:
    picture.draft(None, (2 * size, 2 * size))
    picture = rgb(upright(picture))
  except Exception as e:
    raise Bad('damaged picture', str(e)) from e
  w, h = picture.size
  if min(w, h) <= size:
    return picture, kind if plain else None
  new = (size, max(size, round(h * size / w))) if w < h else (
      max(size, round(w * size / h)), size)
  return picture.resize(new, Image.Resampling.LANCZOS, reducing_gap=3.0), None


def upright(picture):
  """Turns a picture as its EXIF says."""
  if 'exif' not in picture.info:
    return picture
  turn = TURNS.get(picture.getexif().get(ORIENTATION))
  return picture if turn is None else picture.transpose(turn)


def rgb(picture):
  """Any mode of Pillow's -> RGB."""
  if picture.mode.startswith('I'):  # grey, 16 bits
    picture = Image.fromarray((np.asarray(picture) >> 8).clip(0, 255).astype(np.uint8))
  if picture.has_transparency_data:
    picture = picture.convert('RGBA')
    ground = Image.new('RGBA', picture.size, 'white')
    picture = Image.alpha_composite(ground, picture)
  picture.load()
  return picture if picture.mode == 'RGB' else picture.convert('RGB')


def read(path: str, size: int) -> np.ndarray:
  """Reads a picture, cut to its central square: uint8 [size size 3].

  Raises:
    ValueError: not a picture, or of more than MOST_PIXELS.
  """
  with open(path, 'rb') as f:
    data = f.read(MOST_BYTES + 1)
  try:
    return decode(data, size, most=MOST_PIXELS)
  except Bad as e:
    raise ValueError(f'{path} cannot be read: {e}.') from e


def grid(pictures: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
  """Lays pictures uint8 [b h w 3] out row by row on white: uint8 [H W 3]."""
  b, h, w, _ = pictures.shape
  rows = math.ceil(b / columns)
  sheet = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap, 3), 255, np.uint8)
  for i, picture in enumerate(pictures):
    y, x = gap + i // columns * (h + gap), gap + i % columns * (w + gap)
    sheet[y:y + h, x:x + w] = picture
  return sheet


def captioned(pictures: np.ndarray, captions: list[str], columns: int) -> np.ndarray:
  """Rows of `columns` pictures each, a caption over each row: uint8 [H W 3].

  Small pictures are enlarged by whole factors, so that a person can see their pixels.
  """
  zoom = max(1, 96 // pictures.shape[1])
  pictures = pictures.repeat(zoom, 1).repeat(zoom, 2)
  font = ImageFont.load_default(15)
  rows = []
  for i, text in enumerate(captions):
    row = grid(pictures[i * columns:(i + 1) * columns], columns, gap=4)
    label = Image.new('RGB', (row.shape[1], 22), 'white')
    while font.getlength(text) > row.shape[1] - 8 and len(text) > 4:
      text = text[:-4] + '...'
    ImageDraw.Draw(label).text((5, 3), text, fill='black', font=font)
    rows += [np.asarray(label), row]
  return np.concatenate(rows)


def write_png(path: str, picture: np.ndarray, notes: dict):
  """Writes uint8 [h w 3] with `notes` (str -> str) as text chunks."""
  info = PngImagePlugin.PngInfo()
  for key, value in notes.items():
    info.add_itxt(key, value)
  Image.fromarray(picture).save(path, 'PNG', pnginfo=info)


def write_gif(path: str, frames: np.ndarray, seconds: float = 3.0):
  """Writes uint8 [n h w 3] as an endless film whose last frame stands for a second."""
  pictures = [Image.fromarray(frame) for frame in frames]
  each = max(20, round(1000 * seconds / len(frames)))  # ms; players ignore less than 20
  pictures[0].save(
      path, 'GIF', save_all=True, append_images=pictures[1:], loop=0,
      duration=[each] * (len(frames) - 1) + [1000])
