r"""Parquet files with encoded pictures, as on the Hugging Face hub, at 256 pixels.

python train.py --config=configs/parquet.py --workdir=runs/parquet \
    --config.data.path="dump/*.parquet" --config.data.caption=text

Columns are looked for by name (image; caption, text, ...) where none is given. `a/b`
names a field inside a struct or a list of them, as sentences/raw.
"""
from configs import webdataset


def get_config():
  c = webdataset.get_config()
  c.data.update(dict(source='parquet', path='dump/*.parquet'))
  return c
