r"""A set of tensorflow-datasets with pictures and captions: COCO at 256 pixels.

tfds build coco_captions --file_format=array_record --data_dir=.cache/data
python train.py --config=configs/tfds.py --workdir=runs/coco

Reading needs no TensorFlow; the first command does, as the code that makes this set
imports it. 82,783 pictures of COCO 2014 with five captions each, one drawn each time.
"""
from configs import webdataset


def get_config():
  c = webdataset.get_config()
  c.data.update(dict(source='tfds', path='coco_captions', split='train',
                     caption='captions/text', flip=True))
  c.tokenizer.length = 32
  c.train.steps = 100_000
  return c
