"""A contact sheet: what training sees of some pictures, over their captions."""
import bisect
import contextlib
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data import images

COLUMNS, CELL, GAP = 6, 192, 18  # pictures; about as many pixels; and between them
LINES, LINE, TEXT = 4, 16, 13    # of a caption; pixels of a line and of its letters
FONTS = ('NotoSans-Regular.ttf', 'DejaVuSans.ttf', 'LiberationSans-Regular.ttf',
         'NotoSansCJK-Regular.ttc', 'DroidSansFallbackFull.ttf', 'Arial Unicode.ttf')


def fonts(size: int) -> list:
  """Those of FONTS that this machine has, and Pillow's own."""
  found = []
  for name in FONTS:
    with contextlib.suppress(OSError):
      found.append(ImageFont.truetype(name, size))
  return [*found, ImageFont.load_default(size)]


def fitting(faces, text: str):
  """The first of the fonts that lack fewest letters of a text."""
  def lacks(face):
    none = bytes(face.getmask('\U0010ffff'))  # how a letter that is missing looks
    return sum(bytes(face.getmask(x)) == none for x in set(text) - {' '})
  return min(faces, key=lacks)


def wrapped(text: str, face, width: int, lines: int) -> list[str]:
  """Breaks a text into at most `lines` lines of `width` pixels, cut with '…'.

  Between words, or inside one that is too long, as in scripts without spaces.
  """
  out, line = [], ''
  for word in text.split(' '):
    while word:
      tried = f'{line} {word}' if line else word
      if face.getlength(tried) <= width:
        line, word = tried, ''
      elif line:
        out, line = [*out, line], ''
      else:
        fits = max(1, bisect.bisect_right(
            range(len(word)), width, key=lambda n: face.getlength(word[:n])) - 1)
        out, word = [*out, word[:fits]], word[fits:]
  out = [*out, line] if line else out
  if len(out) > lines:
    last = out[lines - 1]
    while last and face.getlength(last + '…') > width:
      last = last[:-1]
    out = [*out[:lines - 1], last + '…']
  return out


def contact(pictures, found: list[dict], title: str) -> np.ndarray:
  """Lays records out in rows: uint8 [h w 3].

  found: of each its number 'record', its 'size' (width, height) and its 'texts'.
  """
  side = max(pictures.size)
  # By whole factors, so that the pixels that are learned can be seen.
  zoom = max(1, round(CELL / side)) if side < 1.5 * CELL else CELL / side
  cell_h, cell_w = (round(n * zoom) for n in pictures.size)
  rows, head = math.ceil(len(found) / COLUMNS), 3 * GAP
  high = cell_h + LINE * (LINES + 1) + GAP
  page = Image.new('RGB', (GAP + COLUMNS * (cell_w + GAP), head + rows * high), 'white')
  pen, faces = ImageDraw.Draw(page), fonts(TEXT)
  large = fonts(TEXT + 3)[0]
  pen.text((GAP, GAP), wrapped(title, large, page.width - 2 * GAP, 1)[0], '#111', large)
  for k, about in enumerate(found):
    x, y = GAP + k % COLUMNS * (cell_w + GAP), head + k // COLUMNS * high
    crop = images.pillow(pictures[about['record']]['image'])
    page.paste(crop.resize((cell_w, cell_h), Image.Resampling.NEAREST if zoom >= 1
                           else Image.Resampling.LANCZOS), (x, y))
    y += cell_h + 5
    first, *others = about['texts']
    face = fitting(faces, first)
    for line in wrapped(first, face, cell_w, LINES):
      pen.text((x, y), line, '#222', face)
      y += LINE
    note = '{} × {}'.format(*about['size'])
    note += f', first of {1 + len(others)} captions' * bool(others)
    pen.text((x, y), note, '#999', faces[0])
  return np.asarray(page)
