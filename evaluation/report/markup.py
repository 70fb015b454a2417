"""HTML that no text can break out of, and pictures as data."""
import base64
import html
import io
import json
import re

from PIL import Image

from data import images
from data.problems import Bad


VOID = ('img', 'meta')  # elements without an end


class Safe(str):
  """A piece of HTML; every other string is text, and is escaped."""


def escaped(value) -> Safe:
  """Text, a number or a piece of HTML as a piece of HTML."""
  return value if isinstance(value, Safe) else Safe(html.escape(str(value)))


def tag(name: str, *inside, **attributes) -> Safe:
  """<name attribute="value">inside</name>; `class_` stands for class."""
  words = ''.join(f' {k.rstrip("_").replace("_", "-")}="{html.escape(str(v))}"'
                  for k, v in attributes.items() if v is not None)
  end = '' if name in VOID else f'</{name}>'
  return Safe(f'<{name}{words}>{"".join(map(escaped, inside))}{end}')


def joined(parts) -> Safe:
  return Safe(''.join(map(escaped, parts)))


def table(head, rows, **attributes) -> Safe:
  """A table that scrolls by itself where it is too wide."""
  body = [tag('tr', *[tag('td', cell) for cell in row]) for row in rows]
  top = tag('thead', tag('tr', *[tag('th', cell) for cell in head]))
  return tag('div', tag('table', top, tag('tbody', *body), **attributes),
             class_='wide')


def embedded(name: str, value) -> Safe:
  """JSON that the page's script finds under an id."""
  text = re.sub('[<>&\u2028\u2029]', lambda m: f'\\u{ord(m[0]):04x}',
                json.dumps(value, separators=(',', ':'), allow_nan=False))
  return Safe(f'<script type="application/json" id="{name}">{text}</script>')


def data_url(path: str, most: int) -> str:
  """A picture file as a data: address, made smaller where it has over `most` bytes.

  Raises ValueError for a file that is no picture.
  """
  with open(path, 'rb') as f:
    data = f.read(images.MOST_BYTES + 1)
  try:
    picture = images.opened(data)
    kind = picture.format
    if kind not in ('PNG', 'GIF', 'JPEG', 'WEBP') or len(data) > most:
      data, kind = shrunk(picture, most), 'WEBP'
  except (Bad, OSError, SyntaxError) as e:
    raise ValueError(f'{path} is no picture: {e}') from e
  return address(kind, data)


def shrunk(picture, most: int) -> bytes:
  """A picture of Pillow's as a WebP of at most about `most` bytes."""
  picture = picture.convert('RGB')
  while True:
    data = io.BytesIO()
    picture.save(data, 'WEBP', quality=80, method=2)
    if data.tell() <= most or min(picture.size) < 64:
      return data.getvalue()
    picture.thumbnail([round(n * 0.7) for n in picture.size], Image.Resampling.LANCZOS)


def address(kind: str, data: bytes) -> str:
  return f'data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}'


def png_address(text) -> str:
  """The data: address of a PNG that a file has in base64; ValueError for none."""
  try:
    data = base64.b64decode(str(text), validate=True)
    kind = images.opened(data).format
  except (Bad, ValueError) as e:
    raise ValueError(f'a thumbnail is no picture: {e}') from e
  if kind != 'PNG':
    raise ValueError(f'a thumbnail is no PNG, but {kind}.')
  return address('PNG', data)


def shown(value) -> str:
  """A number in a few digits; anything else as it is."""
  form = {float: '.4g', int: ','}.get(type(value), '')
  return format(value, form)
