"""Sources of captioned pictures, behind one interface.

A source is a class with `len` and [i] -> {'image': encoded bytes, 'captions': one or
several, as they are stored, 'original': (height, width) where it was another's before
the picture was resized}, which raises problems.Bad for a record that cannot be had.
`captions(i)` does without the picture, `where(i)` says where record i lies, `name`
changes when the records do, and `problems` counts what has been left out of them.
"""
import bisect
import hashlib
import itertools
import types

import numpy as np

from data import captions, images
from data.problems import Bad
from data.sources import array_record, folder, parquet, tfds, webdataset

SOURCES = {
    'shapes': tfds.Prepared, 'emoji': tfds.Prepared, 'tfds': tfds.Prepared,
    'folder': folder.Folder, 'webdataset': webdataset.WebDataset,
    'parquet': parquet.Parquet, 'array_record': array_record.Shards}
SPLIT = ('shapes', 'emoji', 'tfds')  # those that know config.data.split
MIX_KEYS = ('source', 'path', 'split', 'image', 'caption', 'pictures', 'single_share',
            'font')  # those that an entry of config.data.mixture may set
TRIES = 100       # records tried in the place of a bad one
TOKENIZER_CAPTIONS = 200_000  # from which a tokenizer is trained, at most


def parts(c) -> list:
  """[(weight, config of one source)]: those of `mixture`, or the config itself.

  Raises:
    ValueError: an entry of config.data.mixture is not (weight, {key: value}).
  """
  if not c.mixture:
    return [(1.0, c)]
  made = []
  for entry in c.mixture:
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


def check_choices(c):
  """Raises ValueError for what a config's `data` asks for and nobody has.

  Looks at no pictures, so that what is wrong is said before anything is written.
  """
  images.height_width(c.size)
  for choice, known in (('crop', ('centre', 'random')),
                        ('captions', ('random', 'first'))):
    if c[choice] not in known:
      raise ValueError(f'config.data.{choice} is {c[choice]!r}, not one of {known}.')
  for _, part in parts(c):
    if part.source not in SOURCES:
      raise ValueError(
          f'config.data.source is {part.source!r}, not one of {sorted(SOURCES)}.')
    if part.source in SPLIT:
      tfds.builder(part)
    elif part.split != 'train':
      raise ValueError(f'config.data.split is {part.split!r}, but source {part.source} '
                       'has no splits; leave it at train.')


def prepare(c):
  """Draws, downloads or indexes what a config's `data` names, once.

  One process does it for all; the others find it in config.data.dir.
  """
  check_choices(c)
  for _, part in parts(c):
    if part.source in SPLIT:
      tfds.prepare(part)
    else:
      SOURCES[part.source](part)


class Pictures:
  """The pictures of a config's `data`, decoded. Threads and processes may share it.

  Where there are several sources, their records follow one another.

  Attributes:
    size: height and width, in pixels.
  """

  def __init__(self, c, split: str | None = None):
    """c: a config's `data`, prepared. split: in the place of config.data.split."""
    c = c.copy_and_resolve_references()
    if split is not None:
      c.split = split
    self.c = types.SimpleNamespace(**c)  # a config takes long to look into
    self.size = images.height_width(c.size)
    weighted = parts(c)
    self.sources = [SOURCES[part.source](part) for _, part in weighted]
    self.weights = [weight for weight, _ in weighted]
    self.starts = [0, *itertools.accumulate(map(len, self.sources))]
    names = [source.name for source in self.sources]
    self.name = names[0] if len(names) == 1 else hashlib.sha256(
        repr((names, self.weights)).encode()).hexdigest()[:16]

  def __len__(self):
    return self.starts[-1]

  def __repr__(self):
    return f'Pictures({self.name!r})'

  def place(self, i: int):
    """(the source of record i, its place there)."""
    k = bisect.bisect_right(self.starts, i) - 1
    return self.sources[k], i - self.starts[k]

  def __getitem__(self, i):
    """What `decoded` gives: the centre of the picture and its first caption."""
    return self.decoded(i)

  def fetch(self, numbers: list[int]) -> list:
    """Those records, as they are stored, of sources that are faster at many at once.

    None for the others, and where something is wrong with one of them: `decoded` will
    say so.
    """
    found = [None] * len(numbers)
    for source, start, end in zip(self.sources, self.starts, self.starts[1:]):
      if hasattr(source, 'fetch'):
        here = [at for at, i in enumerate(numbers) if start <= i < end]
        try:
          records = source.fetch([numbers[at] - start for at in here])
        except Bad:
          continue
        for at, record in zip(here, records):
          found[at] = record
    return found

  def decoded(self, i: int, key: tuple | None = None, record=None) -> dict:
    """Record i; with a key, as config.data's crop, flip and captions ask for.

    Args:
      key: integers that say which of all random choices are made.
      record: what `fetch` gave.

    Returns:
      {'image': uint8 [h w 3], 'caption': str, 'sizes': float32[6], see images.Decoded,
      which a flip leaves as they are}.

    Raises:
      problems.Bad: the record is not to be used.
    """
    c = self.c
    if record is None:
      source, k = self.place(i)
      record = source[k]
    texts = captions.usable(record['captions'], c.max_caption)
    text, place, flip = texts[0], 0.5, False
    several = len(texts) > 1 and c.captions == 'random'
    if key and (several or c.crop == 'random' or c.flip):
      which, where, side = np.random.default_rng(key).random(3)
      text = texts[int(which * len(texts))] if several else text
      place = where if c.crop == 'random' else place
      flip = c.flip and side < 0.5
    image, sizes = images.decode(
        record['image'], self.size, place=place, most=c.max_pixels, least=c.min_side,
        original=record.get('original'))
    return {'image': image[:, ::-1] if flip else image, 'caption': text, 'sizes': sizes}

  def substitute(self, i: int, attempt: int) -> int:
    """The record of the same source to try for record i, always the same ones."""
    source, k = self.place(i)
    digest = hashlib.blake2b(f'{k} {attempt}'.encode(), digest_size=8).digest()
    return i - k + int.from_bytes(digest, 'big') % len(source)

  def decoded_or_substitute(self, i: int, key: tuple | None = None, record=None):
    """Record i, or the first of its substitutes that is good.

    Returns:
      (what `decoded` gives, 0 or what is wrong with record i: a code of problems).
    """
    problem, first = 0, i
    for attempt in range(TRIES):
      try:
        return self.decoded(i, key, record), problem
      except Bad as e:
        problem, record = problem or e.code, None
        i = self.substitute(first, attempt)
    blank = np.zeros((*self.size, 3), np.uint8)
    sizes = np.array((*self.size, 0, 0, *self.size), np.float32)
    return {'image': blank, 'caption': '', 'sizes': sizes}, Bad('no substitute').code

  def where(self, i: int) -> str:
    source, k = self.place(i)
    return source.where(k)

  def problems(self) -> dict[str, int]:
    """What the sources left out of their records, by reason."""
    counts = {}
    for source in self.sources:
      for reason, n in source.problems.items():
        counts[reason] = counts.get(reason, 0) + n
    return counts

  def captions(self, most: int = TOKENIZER_CAPTIONS):
    """Captions in order, cleaned, without decoding a picture; bad ones are left out.

    Of more than `most` records, as many of them, evenly spread.
    """
    step = max(1, -(-len(self) // most))
    for i in range(0, len(self), step):
      source, k = self.place(i)
      try:
        yield from captions.usable(source.captions(k), self.c.max_caption)
      except Bad:
        pass
