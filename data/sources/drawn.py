"""What the sets that are drawn here have in common."""
import hashlib
import io
import sys

from PIL import Image
import tensorflow_datasets as tfds

from data import images


def held_out(text: str) -> bool:
  """Whether a text is one of the tenth that training never shows: a stable hash."""
  return hashlib.md5(text.encode()).digest()[0] * 10 < 256


class Drawn(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Writes pictures as ArrayRecord, without TensorFlow.

  They are those of `examples(split)`, for the splits of SPLITS: an iterable of pairs of
  a key and {'image': uint8 [h w 3], 'caption': str} or, to leave it out, None.
  """

  @classmethod
  def of(cls, c):
    """The builder of a config's `data`; its `config(c, name)` is called by the size."""
    h, w = images.height_width(c.size)
    config = cls.config(c, str(h) if h == w else f'{h}x{w}')
    return cls(config=config, data_dir=c.dir, file_format='array_record')

  def _info(self):
    size = images.height_width(self.builder_config.size)
    return tfds.core.DatasetInfo(
        builder=self, description=sys.modules[type(self).__module__].__doc__,
        features=tfds.features.FeaturesDict({
            'image': tfds.features.Image(shape=(*size, 3), encoding_format='png'),
            'caption': tfds.features.Text()}),
        supervised_keys=('caption', 'image'))

  def _split_generators(self, dl_manager):
    return {split: self._generate_examples(self.examples(split))
            for split in self.SPLITS}

  def _generate_examples(self, examples):
    for key, item in examples:
      if item is not None:
        png = io.BytesIO()
        Image.fromarray(item['image']).save(png, 'PNG', compress_level=1)
        png.seek(0)
        yield key, item | {'image': png}
