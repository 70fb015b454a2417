"""Sets of tensorflow-datasets, by name or drawn here, kept as ArrayRecord."""
import logging
import os
import sys

import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from console.errors import tell
from data import captions, images
from data.problems import Bad
from data.sources import emoji, shapes


def size_name(size) -> str:
  """32 -> '32', (48, 32) -> '48x32': what a drawn set is called by."""
  h, w = images.height_width(size)
  return str(h) if h == w else f'{h}x{w}'


def shapes_config(c):
  name, usual = size_name(c.size), shapes.ShapesConfig
  if (c.pictures, c.single_share) != (usual.train, usual.single_share):
    name += f'_{c.pictures}_{c.single_share:g}'
  return shapes.ShapesConfig(name=name, size=c.size, train=c.pictures,
                             single_share=c.single_share)


def emoji_config(c):
  return emoji.EmojiConfig(name=size_name(c.size), size=c.size, font=c.font)


DRAWN = {'shapes': (shapes.Shapes, shapes_config), 'emoji': (emoji.Emoji, emoji_config)}


def builder(c):
  """The builder of a config's `data`.

  A set that config.data.dir holds is read as it is; that needs no TensorFlow, which the
  code that makes some sets does.

  Raises:
    ValueError: a name that is not known, or what it cannot draw.
  """
  if c.source in DRAWN:
    kind, config = DRAWN[c.source]
    return kind(config=config(c), data_dir=c.dir, file_format='array_record')
  if not c.path:
    raise ValueError('config.data.path is empty; source tfds takes the name of a set '
                     'there, such as coco_captions or coco_captions/2014.')
  folder = os.path.abspath(os.path.expanduser(c.dir))
  try:
    return tfds.core.read_only_builder.builder_from_files(c.path, data_dir=folder)
  except tfds.core.DatasetNotFoundError:
    pass
  try:
    return tfds.builder(c.path, data_dir=folder, file_format='array_record')
  except tfds.core.DatasetNotFoundError:
    raise ValueError(f'config.data.path is {c.path!r}, which config.data.dir={c.dir} '
                     'does not hold and tensorflow-datasets does not know.') from None
  except ImportError as e:
    raise ValueError(needs(c, e)) from e
  except (ValueError, AssertionError) as e:  # no such config or version
    raise ValueError(f'config.data.path is {c.path!r}: '
                     f'{str(e).partition("builder_kwargs")[2] or e}') from e


def needs(c, error: ImportError) -> str:
  return (f'config.data.path is {c.path!r}, which config.data.dir={c.dir} does not '
          f'hold and which this machine cannot make ({error}). Where TensorFlow is '
          f'installed: tfds build {c.path} --file_format=array_record '
          f'--data_dir={c.dir}')


def prepare(c):
  """Draws or downloads a set and writes it, once; later calls find it there."""
  made = builder(c)
  if os.path.exists(made.data_path):
    return
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  logging.getLogger('urllib3').setLevel(logging.ERROR)  # its last try is told
  try:
    made.download_and_prepare()
  except ImportError as e:
    raise ValueError(needs(c, e)) from e
  except AssertionError as e:  # a set that is downloaded by hand, and was not
    raise ValueError(f'config.data.path is {c.path!r}: {" ".join(str(e).split())}'
                     ) from e
  tell(f'prepared {made.info.full_name} in {made.data_path}')


class Prepared:
  """[i] -> {'image': bytes, 'captions': [bytes, ...]} of a set that is prepared."""

  def __init__(self, c):
    """c: a config's `data`.

    Raises:
      ValueError: no such split, no such features, or not kept as ArrayRecord.
    """
    made = builder(c)
    info, self.problems = made.info, {}
    if not os.path.exists(made.data_path):
      raise ValueError(f'config.data.dir={c.dir} does not hold {info.full_name}.')
    if info.file_format.value != 'array_record':
      raise ValueError(
          f'{made.data_path} is kept as {info.file_format.value}, which cannot be read '
          f'in any order; prepare it with tfds build --file_format=array_record.')
    self.image, self.caption, self.names = features(info, c)
    try:
      records = made.as_data_source(
          c.split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    except (ValueError, KeyError) as e:
      raise ValueError(f'config.data.split is {c.split!r}; {info.full_name} has '
                       f'{sorted(info.splits)}, also as train[:10%].') from e
    self._records = records.data_source  # without what tfds does to each record
    self.name = f'{info.full_name}/{c.split}:{len(self._records)}'

  def __len__(self):
    return len(self._records)

  def __getitem__(self, i):
    return self._parsed(self._records[i])

  def fetch(self, numbers: list[int]) -> list[dict]:
    return [self._parsed(data) for data in self._records.__getitems__(numbers)]

  def _parsed(self, data: bytes) -> dict:
    fields = tf_example_pb2.Example.FromString(data).features.feature
    image = fields[self.image].bytes_list.value
    if not image:
      raise Bad('empty file')
    stored = fields[self.caption]
    captions = ([self.names[i] for i in stored.int64_list.value] if self.names else
                list(stored.bytes_list.value))
    return {'image': image[0], 'captions': captions}

  def captions(self, i):
    return self[i]['captions']

  def where(self, i) -> str:
    return f'{self.name.rpartition(":")[0]}, record {i}'


def features(info, c):
  """(names of the picture and the caption within a record, as 'captions/text', and
  where the caption is a class: the names of the classes)."""
  flat = {}
  def walk(feature, at):
    inner = getattr(feature, 'feature', feature)  # of a Sequence
    if isinstance(inner, tfds.features.FeaturesDict):
      for name, part in inner.items():
        walk(part, f'{at}/{name}'.lstrip('/'))
    else:
      flat[at] = inner
  walk(info.features, '')
  pictures = [k for k, v in flat.items() if isinstance(v, tfds.features.Image)]
  classes = {k: v.names for k, v in flat.items()
             if isinstance(v, tfds.features.ClassLabel)}
  texts = [k for k, v in flat.items() if isinstance(v, tfds.features.Text)]
  if c.image and c.image not in pictures:
    raise ValueError(f'config.data.image is {c.image!r}, not one of {pictures}, the '
                     f'pictures of {info.full_name}.')
  if not pictures:
    raise ValueError(f'config.data.path is {c.path!r}, which has no pictures but '
                     f'{sorted(flat)}.')
  image = c.image or ('image' if 'image' in pictures else pictures[0])
  if c.caption:
    if c.caption not in [*texts, *classes]:
      raise ValueError(f'config.data.caption is {c.caption!r}, not one of '
                       f'{[*texts, *classes]}, the texts of {info.full_name}.')
    return image, c.caption, classes.get(c.caption)
  for text in texts:
    if text.partition('/')[0] in captions.NAMES:
      return image, text, None
  raise ValueError(f'{info.full_name} has none of {list(captions.NAMES)}; name the '
                   'feature with captions in config.data.caption, of '
                   f'{[*texts, *classes]}.')
