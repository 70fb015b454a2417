"""A contact sheet: what training sees of some pictures, over their captions."""
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLUMNS, CELL, GAP = 6, 192, 18  # pictures; pixels, and between them
LINES, LINE, TEXT = 4, 16, 13    # of a caption; pixels of a line and of its letters
FONTS = ('NotoSans-Regular.ttf', 'DejaVuSans.ttf', 'LiberationSans-Regular.ttf',
         'Arial.ttf')


def font(size: int):
  """A font with many scripts if this machine has one, else Pillow's own."""
  for name in FONTS:
    try:
      return ImageFont.truetype(name, size)
    except OSError:
      pass
  return ImageFont.load_default(size)


def wrapped(text: str, face, width: int, lines: int) -> list[str]:
  """Breaks a text into at most `lines` lines of `width` pixels, cut with '…'.

  Between words, or inside one that is too long, as in scripts without spaces.
  """
  out, line = [], ''
  for word in text.split(' '):
    while word:
      tried = f'{line} {word}'.strip() if line else word
      if face.getlength(tried) <= width:
        line, word = tried, ''
      elif line:
        out, line = [*out, line], ''
      else:
        fits = next(n for n in range(len(word), 0, -1)
                    if n == 1 or face.getlength(word[:n]) <= width)
        out, word = [*out, word[:fits]], word[fits:]
  out = [*out, line] if line else out
  if len(out) > lines:
    last = out[lines - 1]
    while last and face.getlength(last + '…') > width:
      last = last[:-1]
    out = [*out[:lines - 1], last + '…']
  return out


def contact(pictures, found: list[dict], title: str) -> np.ndarray:
  """Lays records out in rows.

  Args:
    found: of each record its number 'record', its 'size' and its 'texts'.

  Returns:
    uint8 [h w 3].
  """
  rows = math.ceil(len(found) / COLUMNS)
  high = CELL + LINE * (LINES + 1) + GAP
  head = 2 * GAP + 12
  page = Image.new('RGB', (GAP + COLUMNS * (CELL + GAP), head + rows * high), 'white')
  pen, face, large = ImageDraw.Draw(page), font(TEXT), font(TEXT + 3)
  pen.text((GAP, GAP), wrapped(title, large, page.width - 2 * GAP, 1)[0], '#111', large)
  for k, about in enumerate(found):
    x = GAP + k % COLUMNS * (CELL + GAP)
    y = head + k // COLUMNS * high
    square = Image.fromarray(pictures[about['record']]['image'])
    small = square.width < CELL  # pixels stay visible, as they are what is learned
    square = square.resize((CELL, CELL), Image.Resampling.NEAREST if small
                           else Image.Resampling.LANCZOS)
    page.paste(square, (x, y))
    y += CELL + 5
    lines = wrapped(about['texts'][0], face, CELL, LINES)
    for line in lines:
      pen.text((x, y), line, '#222', face)
      y += LINE
    more = len(about['texts']) - 1
    w, h = about['size']
    pen.text((x, y), f'{w} × {h}' + (f', {more} more captions' if more else ''), '#999',
             face)
  return np.asarray(page)
