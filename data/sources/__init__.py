"""Sources of captioned pictures. Each is a tensorflow-datasets builder."""
import io
import os
import sys

from PIL import Image
import numpy as np
import tensorflow_datasets as tfds

from data.sources import emoji, shapes

def shapes_config(c):
  name = str(c.size)
  if (c.pictures, c.one) != (shapes.ShapesConfig.train, shapes.ShapesConfig.one):
    name += f'_{c.pictures}_{c.one:g}'
  return shapes.ShapesConfig(name=name, size=c.size, train=c.pictures, one=c.one)


def emoji_config(c):
  return emoji.EmojiConfig(name=str(c.size), size=c.size, font=c.font)


SOURCES = {
    'shapes': (shapes.Shapes, shapes_config), 'emoji': (emoji.Emoji, emoji_config)}


def builder(c):
  """The builder of a source, from a config's `data`.

  Raises:
    ValueError: an unknown `source`, or a `size` that it cannot draw.
  """
  if c.source not in SOURCES:
    raise ValueError(
        f'config.data.source is {c.source!r}, not one of {sorted(SOURCES)}.')
  kind, config = SOURCES[c.source]
  return kind(config=config(c), data_dir=c.dir, file_format='array_record')


def prepare(c):
  """Draws and writes a source, once; later calls find it there."""
  made = builder(c)
  if not os.path.exists(made.data_path):
    print(f'preparing {c.source} at {c.size} pixels in {made.data_path}', flush=True)
    if not sys.stderr.isatty():
      tfds.disable_progress_bar()
    made.download_and_prepare()


class Pictures:
  """A prepared split with random access.

  [i] is {'image': uint8 [size size 3], 'caption': str}. Threads may share it.
  """

  def __init__(self, c, split: str):
    """c: a config's `data`, whose source is prepared."""
    made = builder(c)
    self.name = f'{made.name}/{made.builder_config.name}/{split}'
    self._records = made.as_data_source(
        split, decoders={'image': tfds.decode.SkipDecoding()})

  def __len__(self):
    return len(self._records)

  def __getitem__(self, i):
    record = self._records[i]
    picture = Image.open(io.BytesIO(record['image'])).convert('RGB')
    return {'image': np.asarray(picture), 'caption': record['caption'].decode()}

  def captions(self):
    """Every caption in order, without decoding a picture."""
    return (self._records[i]['caption'].decode() for i in range(len(self)))

  def __repr__(self):
    return f'Pictures({self.name!r})'  # grain keeps it in the iterator's state
