"""Sets of tensorflow-datasets, by name or drawn here, kept as ArrayRecord."""
import logging
import os
import sys

import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from console.errors import tell, writing
from data import captions
from data.problems import Bad, refused
from data.sources import array_record, emoji, shapes, skills


def builder(c):
  """The builder of a config's `data`.

  A set that config.data.dir holds is read as it is; that needs no TensorFlow, which the
  code that makes some sets does. Raises ValueError for a name that is not known.
  """
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
    raise refused('path', c.path, f', which config.data.dir={c.dir} does not hold and '
                  'tensorflow-datasets does not know.') from None
  except ImportError as e:
    raise needs(c, e) from e
  except (ValueError, AssertionError) as e:  # no such config or version
    raise refused('path', c.path,
                  f': {str(e).partition("builder_kwargs")[2] or e}') from e


def needs(c, error: ImportError) -> ValueError:
  return refused(
      'path', c.path, f', which config.data.dir={c.dir} does not hold and which this '
      f'machine cannot make ({error}). Where TensorFlow is installed: tfds build '
      f'{c.path} --file_format=array_record --data_dir={c.dir}')


class Prepared(array_record.Records):
  """[i] -> {'image': bytes, 'captions': [bytes, ...]} of a set that is prepared."""
  splits = True
  builder = staticmethod(builder)

  def __init__(self, c):
    """Raises ValueError for no such split or features, or another file format."""
    made = self.builder(c)
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
      raise refused('split', c.split, f'; {info.full_name} has {sorted(info.splits)}, '
                    'also as train[:10%].') from e
    self._records = records.data_source  # without what tfds does to each record
    self.name = f'{info.full_name}/{c.split}:{len(self._records)}'

  @classmethod
  def prepare(cls, c):
    """Draws or downloads a set and writes it, once; later calls find it there."""
    made = cls.builder(c)
    if os.path.exists(made.data_path):
      return
    if not sys.stderr.isatty():
      tfds.disable_progress_bar()
    logging.getLogger('urllib3').setLevel(logging.ERROR)  # its last try is told
    try:
      with writing(f'config.data.dir={c.dir}'):
        made.download_and_prepare()
    except ImportError as e:
      raise needs(c, e) from e
    except AssertionError as e:  # a set that is downloaded by hand, and was not
      raise refused('path', c.path, f': {" ".join(str(e).split())}') from e
    tell(f'prepared {made.info.full_name} in {made.data_path}')

  def parsed(self, data: bytes) -> dict:
    fields = tf_example_pb2.Example.FromString(data).features.feature
    image, stored = fields[self.image].bytes_list.value, fields[self.caption or '']
    if not image:
      raise Bad('empty file')
    return {'image': image[0], 'captions': captions.texts(
        list(stored.bytes_list.value) or list(stored.int64_list.value), self.names)}

  def where(self, i) -> str:
    return f'{self.name.rpartition(":")[0]}, record {i}'


class Shapes(Prepared):
  builder = shapes.Shapes.of


class Skills(Prepared):
  builder = skills.Skills.of


class Emoji(Prepared):
  builder = emoji.Emoji.of


def flat(feature, at: str = '') -> dict:
  """{'captions/text': feature} of features that are nested, also in sequences."""
  inner = getattr(feature, 'feature', feature)  # of a Sequence
  if not isinstance(inner, tfds.features.FeaturesDict):
    return {at.lstrip('/'): inner}
  return {name: found for key, part in inner.items()
          for name, found in flat(part, f'{at}/{key}').items()}


def features(info, c):
  """(names of the picture and the caption within a record, as 'captions/text', and
  where the caption is a class: the names of the classes)."""
  kinds = tfds.features.Image, tfds.features.Text, tfds.features.ClassLabel
  found = flat(info.features)
  pictures, texts, classes = (
      [name for name, kind in found.items() if isinstance(kind, wanted)]
      for wanted in kinds)
  if c.image and c.image not in pictures:
    raise refused('image', c.image, f', not one of {pictures}, the pictures of '
                  f'{info.full_name}.')
  if not pictures:
    raise refused('path', c.path, f', which has no pictures but {sorted(found)}.')
  image = c.image or ('image' if 'image' in pictures else pictures[0])
  caption = captions.where(c)
  if caption and caption not in texts + classes:
    raise refused('caption', caption, f', not one of {texts + classes}, the texts of '
                  f'{info.full_name}.')
  if caption == '':
    caption = next(
        (name for name in texts if name.partition('/')[0] in captions.NAMES), '')
    if not caption:
      raise ValueError(f'{info.full_name} has none of {list(captions.NAMES)}; name the '
                       'feature with captions in config.data.caption, of '
                       f'{texts + classes}; {captions.WITHOUT}.')
  return image, caption, found[caption].names if caption in classes else None
