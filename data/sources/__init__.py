"""Sources of captioned pictures, behind one interface.

A source is a class, made of a config's `data`, with `len` and [i] -> {'image': encoded
bytes, 'captions': one or several, as they are stored, 'original': (height, width) where
it was another's before the picture was resized}, which raises problems.Bad for a record
that cannot be had. `captions(i)` does without the picture, `where(i)` says where record
i lies, `name` changes when the records do, and `problems` counts what was left out.
One that knows config.data.split has `splits` = True, builder(c) and prepare(c).
"""
import bisect
import collections
import contextlib
import hashlib
import itertools
import types

import numpy as np

from data import captions, images
from data.problems import Bad, refused
from data.sources import array_record, folder, parquet, tfds, webdataset

SOURCES = {
    'shapes': tfds.Shapes, 'skills': tfds.Skills, 'emoji': tfds.Emoji,
    'tfds': tfds.Prepared, 'folder': folder.Folder, 'webdataset': webdataset.WebDataset,
    'parquet': parquet.Parquet, 'array_record': array_record.Shards}
CHOICES = {'crop': ('centre', 'random'), 'captions': ('random', 'first', 'none')}
MIX_KEYS = ('source', 'path', 'split', 'image', 'caption', 'pictures', 'single_share',
            'font')  # those that an entry of config.data.mixture may set
TRIES = 100       # records tried in the place of a bad one
TOKENIZER_CAPTIONS = 200_000  # records whose captions train a tokenizer, at most


def parts(c) -> list:
  """[(weight, config of one source)]: those of `mixture`, or the config itself.

  Raises ValueError for an entry of `mixture` that is not (weight, {key: value}).
  """
  made = []
  for entry in c.mixture or [(1.0, {})]:
    try:
      weight, keys = entry
      weight, keys = float(weight), dict(keys)
    except (TypeError, ValueError):
      raise ValueError(f'config.data.mixture has {entry!r}; an entry is (weight, '
                       '{"source": ..., "path": ...}).') from None
    if wrong := keys.keys() - set(MIX_KEYS):
      raise ValueError(f'config.data.mixture sets {sorted(wrong)}; an entry may set '
                       f'{list(MIX_KEYS)}.')
    if not weight > 0:
      raise ValueError(f'config.data.mixture has the weight {weight:g}; it must be '
                       'above 0.')
    part = c.copy_and_resolve_references()
    part.update(keys | {'mixture': ()})
    made.append((weight, part))
  return made


def has_splits(c) -> bool:
  """Whether the source of a config's `data` knows config.data.split."""
  return getattr(SOURCES[c.source], 'splits', False)


def check_choices(c):
  """Raises ValueError for what a config's `data` asks for and nobody has.

  Looks at no pictures, so that what is wrong is said before anything is written.
  """
  images.height_width(c.size)
  for key, known in CHOICES.items():
    if c[key] not in known:
      raise refused(key, c[key], f', not one of {known}.')
  for _, part in parts(c):
    if part.source not in SOURCES:
      raise refused('source', part.source, f', not one of {sorted(SOURCES)}.')
    if has_splits(part):
      SOURCES[part.source].builder(part)
    elif part.split != 'train':
      raise refused('split', part.split, f', but source {part.source} has no splits; '
                    'leave it at train.')


def prepare(c):
  """Draws, downloads or indexes what a config's `data` names, once.

  One process does it for all; the others find it in config.data.dir.
  """
  check_choices(c)
  for _, part in parts(c):
    source = SOURCES[part.source]
    (source.prepare if has_splits(part) else source)(part)


class Pictures:
  """The pictures of a config's `data`, decoded. Threads and processes may share it.

  Where there are several sources, their records follow one another. `size`: height and
  width, in pixels.
  """

  def __init__(self, c, split: str | None = None):
    """c: a config's `data`, prepared. split: in the place of config.data.split."""
    c = c.copy_and_resolve_references()
    c.split = c.split if split is None else split
    self.c = types.SimpleNamespace(**c)  # a config takes long to look into
    self.size = images.height_width(c.size)
    self.weights, configs = map(list, zip(*parts(c)))
    self.sources = [SOURCES[part.source](part) for part in configs]
    self.starts = [0, *itertools.accumulate(map(len, self.sources))]
    names = [source.name for source in self.sources]
    self.name = names[0] if len(names) == 1 else hashlib.sha256(
        repr((names, self.weights)).encode()).hexdigest()[:16]

  def __len__(self):
    return self.starts[-1]

  def place(self, i: int):
    """(the source of record i, its place there)."""
    k = bisect.bisect_right(self.starts, i) - 1
    return self.sources[k], i - self.starts[k]

  def fetch(self, numbers: list[int]) -> list:
    """Those records, as they are stored, of sources that are faster at many at once.

    None for others, and where one of them is bad: `decoded` will say so.
    """
    found = [None] * len(numbers)
    for source, start, end in zip(self.sources, self.starts, self.starts[1:]):
      if hasattr(source, 'fetch'):
        here = [at for at, i in enumerate(numbers) if start <= i < end]
        with contextlib.suppress(Bad):
          records = source.fetch([numbers[at] - start for at in here])
          for at, record in zip(here, records):
            found[at] = record
    return found

  def decoded(self, i: int, key: tuple | None = None, record=None) -> dict:
    """{'image': uint8 [h w c], 'caption': str, 'sizes': float32 [6]} of record i.

    sizes: see images.decode; a flip leaves them as they are. Raises Bad.

    key: integers that say which of the random choices that config.data's crop, flip
      and captions ask for are made; None: the centre and the first caption.
    record: what `fetch` gave.
    """
    c = self.c
    if record is None:
      source, k = self.place(i)
      record = source[k]
    texts = captions.usable(record['captions'], c)
    text, place, flip = texts[0], 0.5, False
    several = len(texts) > 1 and c.captions == 'random'
    if key and (several or c.crop == 'random' or c.flip):
      which, where, side = np.random.default_rng(key).random(3)
      text = texts[int(which * len(texts))] if several else text
      place = where if c.crop == 'random' else place
      flip = c.flip and side < 0.5
    image, sizes = images.decode(
        record['image'], self.size, c.channels, place=place, most=c.max_pixels,
        least=c.min_side, original=record.get('original'))
    return {'image': image[:, ::-1] if flip else image, 'caption': text, 'sizes': sizes}

  __getitem__ = decoded

  def decoded_or_substitute(self, i: int, key: tuple | None = None, record=None):
    """(`decoded` of i or its first good substitute, 0 or the code of what was wrong).

    The substitutes of a record are always the same ones.
    """
    problem, tried, (source, k) = 0, i, self.place(i)
    for attempt in range(TRIES):
      try:
        return self.decoded(tried, key, record), problem
      except Bad as e:
        problem, record = problem or e.code, None
        digest = hashlib.blake2b(f'{k} {attempt}'.encode(), digest_size=8).digest()
        tried = i - k + int.from_bytes(digest, 'big') % len(source)
    blank = np.zeros((*self.size, self.c.channels), np.uint8)
    sizes = np.array((*self.size, 0, 0, *self.size), np.float32)
    return {'image': blank, 'caption': '', 'sizes': sizes}, Bad('no substitute').code

  def where(self, i: int) -> str:
    source, k = self.place(i)
    return source.where(k)

  def problems(self) -> dict[str, int]:
    """What the sources left out of their records, by reason."""
    return sum((collections.Counter(source.problems) for source in self.sources),
               collections.Counter())

  def captions(self):
    """Captions in order, cleaned, without decoding a picture; bad ones are left out.

    Of more than TOKENIZER_CAPTIONS records, as many of them, evenly spread.
    """
    step = max(1, -(-len(self) // TOKENIZER_CAPTIONS))
    for source, k in map(self.place, range(0, len(self), step)):
      with contextlib.suppress(Bad):
        yield from captions.usable(source.captions(k), self.c)
