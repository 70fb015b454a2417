"""Captions as they come, made into text that a tokenizer may see."""
import os
import unicodedata

from data.problems import Bad, refused

NAMES = ('caption', 'captions', 'text', 'texts', 'prompt')  # where '' looks for them
FOLDERS = {  # where they are names of folders: which of those that a picture lies in
    'folder': -1, 'top_folder': 0}
WITHOUT = "config.data.captions='none' does without captions"


def where(c) -> str | None:
  """config.data.caption; None where config.data.captions says to look for none."""
  return None if c.captions == 'none' else c.caption


def clean(caption: bytes | str | None, most: int) -> str:
  """One caption, cleaned; every letter, sign and emoji of Unicode stays.

  UTF-8 is decoded (a byte order mark is dropped), the form becomes NFC, controls and
  line breaks become spaces, runs of white space one space, none at the ends.

  Raises Bad for one that is missing (None), not UTF-8 (as lone surrogates), empty, or
  of more than `most` characters.
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
  if not text or len(text) > most:
    raise Bad('caption too long' if text else 'empty caption')
  return text


def usable(found, c) -> list[str]:
  """Those of a record's captions that can be cleaned, in order; [''] without captions.

  found: one caption or several, each bytes, str or None. c: a config's `data`.
  Raises Bad, for the reason of the first one, where none can.
  """
  if where(c) is None:
    return ['']
  several = [found] if found is None or isinstance(found, (bytes, str)) else found
  good, first = [], None
  for caption in several:
    try:
      good.append(clean(caption, c.max_caption))
    except Bad as e:
      first = first or e
  if not good:
    raise first or Bad('no caption')
  return good


def find(names, wanted: str | None, what: str, at: str) -> str | None:
  """The name under which captions are stored; ValueError where it is not there.

  names: those that there are, each a `what` of `at`, such as a column of a file.
  wanted: what `where` says; '' looks for one of NAMES.
  """
  if wanted is None:
    return None
  if wanted and wanted.partition('/')[0] not in names:
    raise refused('caption', wanted,
                  f', which is no {what} of {at}; it has {sorted(names)}.')
  if found := wanted or next((name for name in NAMES if name in names), None):
    return found
  raise ValueError(f'{at} has none of the {what}s {list(NAMES)} but {sorted(names)}; '
                   'name the one with captions in config.data.caption; '
                   f'{WITHOUT}.')


def inside(value, path: str):
  """What lies at 'a/b' in nested dicts and lists of them: {'b': [1, 2]} -> [1, 2]."""
  for name in filter(None, path.split('/')):
    if value is None or isinstance(value, (str, bytes)):
      return None
    value = (value.get(name) if isinstance(value, dict) else
             [inside(part, name) for part in value])
  return value


def texts(found, names=None) -> list[str | bytes | None]:
  """What a field holds, one caption or several; what is no text becomes None.

  A whole number is a class: that one of `names`, or its digits where there are none.
  """
  def text(value):
    if type(value) is not int:
      return value if isinstance(value, (str, bytes)) else None
    if not names:
      return str(value)
    return names[value] if 0 <= value < len(names) else None  # -1 on the hub: not told
  return [text(value) for value in (found if isinstance(found, list) else [found])]


def as_bytes(found) -> list[bytes]:
  """What a field holds, a caption or several -> bytes to keep; what is no text is not.

  Surrogates become bytes that are not UTF-8, so that `clean` refuses them.
  """
  return [text if isinstance(text, bytes) else text.encode('utf-8', 'surrogatepass')
          for text in texts(found) if text is not None]


def of_folder(path: str, wanted: str = 'folder') -> list[bytes]:
  """The name of a folder that a picture lies in, of FOLDERS; none at the top."""
  names = os.path.dirname(os.path.normpath(path)).split('/')
  return [os.fsencode(name) for name in (names[FOLDERS[wanted]],) if name]
