r"""A ControlNet of a trained U-Net, which learns to be led by edges (arXiv:2302.05543).

python train.py --config=configs/finetune/controlnet.py:shapes --workdir=runs/edges \
    --config.data.path=pictures
python sample.py --workdir=runs/edges --prompt="a red ring" --control=sketch.png \
    --out=ring.png

`:sd15` and `:sdxl` start from public weights below weights/public. The copy starts as
the U-Net, which stays as it is; half of the captions are dropped, as published.
`config.diffusion.control` is what is taken of a picture: edges, grey, coarse.
"""
from configs import finetuning


@finetuning.variants('shapes', 'sd15', 'sdxl')
def get_config(name):
  c = finetuning.start(name)
  c.model.name = 'controlled_unet'
  c.model.hint_widths = (16, 24, 32) if name == 'shapes' else (16, 32, 96, 256)
  c.diffusion.update(dict(control='edges', caption_dropout=0.5))
  c.optim.lr = 1e-3 if name == 'shapes' else 1e-5
  c.optim.lr_scale = (('backbone/control/.*', 1.0), ('.*', 0.0))
  c.train.sample_every = 0
  return c
