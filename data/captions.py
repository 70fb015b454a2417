"""Captions as they come, made into text that a tokenizer may see."""
import unicodedata

from data.problems import Bad

NAMES = ('caption', 'captions', 'text', 'texts', 'prompt')  # where '' looks for them


def clean(caption, most: int) -> str:
  """One caption, cleaned; every letter, sign and emoji of Unicode stays.

  UTF-8 is decoded (a byte order mark is dropped), the form becomes NFC, controls and
  line breaks become spaces, runs of white space one space, none at the ends. Lone
  surrogates, which no file can hold, count as not UTF-8.

  Args:
    caption: bytes, str or None.
    most: characters, after which it is too long.

  Raises:
    Bad: missing, not UTF-8, empty or too long.
  """
  if caption is None:
    raise Bad('no caption')
  if len(caption) > 4 * most:  # bytes of a character in UTF-8, at most
    raise Bad('caption too long')
  try:
    text = caption if isinstance(caption, str) else bytes(caption).decode('utf-8-sig')
    text.encode('utf-8')
  except UnicodeError:
    raise Bad('caption not UTF-8') from None
  if not text.isascii():
    text = unicodedata.normalize('NFC', text)
  if not text.isprintable():  # as plain ASCII nearly always is
    text = ''.join(' ' if unicodedata.category(x) == 'Cc' else x for x in text)
  text = ' '.join(text.split())
  if not text:
    raise Bad('empty caption')
  if len(text) > most:
    raise Bad('caption too long')
  return text


def usable(found, most: int) -> list[str]:
  """Those of a record's captions that can be cleaned, in order.

  found: one caption or several, each bytes, str or None.

  Raises:
    Bad: none can; the reason is the first one's.
  """
  several = [found] if found is None or isinstance(found, (bytes, str)) else found
  good, first = [], None
  for caption in several:
    try:
      good.append(clean(caption, most))
    except Bad as e:
      first = first or e
  if not good:
    raise first or Bad('no caption')
  return good


def find(names, wanted: str, what: str, at: str) -> str:
  """The name under which captions are stored.

  Args:
    names: those that there are.
    wanted: config.data.caption, '' to look for one of NAMES.
    what: of a name, such as 'column'.
    at: whose names these are.

  Raises:
    ValueError: it is not there.
  """
  first = wanted.partition('/')[0]
  if wanted:
    if first not in names:
      raise ValueError(f'config.data.caption is {wanted!r}, which is no {what} of '
                       f'{at}; it has {sorted(names)}.')
    return wanted
  for name in NAMES:
    if name in names:
      return name
  raise ValueError(f'{at} has none of the {what}s {list(NAMES)} but {sorted(names)}; '
                   f'name the one with captions in config.data.caption.')


def inside(value, path: str):
  """What lies at 'a/b' in nested dicts and lists of them: {'b': [1, 2]} -> [1, 2]."""
  for name in filter(None, path.split('/')):
    if isinstance(value, dict):
      value = value.get(name)
    elif value is not None and not isinstance(value, (str, bytes)):
      value = [inside(part, name) for part in value]
    else:
      return None
  return value


def as_bytes(found) -> list[bytes]:
  """What a field holds, a caption or several -> bytes to keep; what is no text is not.

  Surrogates become bytes that are not UTF-8, so that `clean` refuses them.
  """
  several = found if isinstance(found, list) else [found]
  return [text if isinstance(text, bytes) else text.encode('utf-8', 'surrogatepass')
          for text in several if isinstance(text, (str, bytes))]
