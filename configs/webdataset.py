r"""WebDataset tar shards, as img2dataset writes them (cc12m, LAION), at 256 pixels.

python train.py --config=configs/webdataset.py --workdir=runs/cc12m \
    --config.data.path="gs://bucket/cc12m/{00000..01242}.tar"

Addresses of any fsspec file system (pip install gcsfs, s3fs, ...). The first start
walks the headers of all shards and keeps an index of them in config.data.dir; where
that takes too long, or reading does, see data.prepare in docs/data.md.
"""
from configs import folder


def get_config():
  c = folder.get_config()
  c.data.update(dict(source='webdataset', path='shards/*.tar', size=256, threads=16))
  c.tokenizer.update(dict(vocab=16_384, length=64))
  c.model.update(dict(width=128, channel_mult=(1, 2, 4), attention=(0, 1, 1),
                      head_width=64, groups=32))
  c.train.update(dict(steps=300_000, batch=256, checkpoint_every=5_000))
  return c
