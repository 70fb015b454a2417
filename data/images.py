"""Pictures on disk: reading one, and writing PNGs, grids and films."""
import math

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
import numpy as np

MOST_PIXELS = 50_000_000  # of a picture to read; Pillow alone only warns


def read(path: str, size: int) -> np.ndarray:
  """Reads a picture, cut to its central square: uint8 [size size 3].

  Raises:
    ValueError: not a picture, or of more than MOST_PIXELS.
  """
  try:
    with Image.open(path) as picture:
      w, h = picture.size
      if w * h > MOST_PIXELS:
        raise ValueError(f'{path} has {w * h} pixels; at most {MOST_PIXELS} are read.')
      side = min(w, h)
      left, top = (w - side) // 2, (h - side) // 2
      box = (left, top, left + side, top + side)
      return np.asarray(picture.convert('RGB').crop(box).resize(
          (size, size), Image.Resampling.LANCZOS))
  except FileNotFoundError:
    raise
  except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as e:
    raise ValueError(f'{path} is not a picture that can be read: {e}') from e


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
