r"""ADM on ImageNet at 64, 128, 256 or 512 pixels, by class: arXiv:2105.05233.

python train.py --config=configs/papers/adm.py:64 --workdir=runs/adm

Published FID of 50,000 samples of 250 steps, against the statistics of the training set
(its files VIRTUAL_imagenet*.npz): 2.07 at 64 without guidance; at 128, 256 and 512 with
guidance by a classifier 2.97, 4.59 and 7.72, without it 5.91, 10.94 and 23.24 (the last
three from memory; table 5). Fields and schedules are those of openai/guided-diffusion,
README.md; batches, rates and steps those of table 11 (from memory, but for 512).

Not as published: nothing guides by a classifier; bfloat16, where there was float16 with
scaling of the loss. The reference crops and resizes by boxes and bicubic interpolation,
here it is Lanczos. The average forgets faster at first.
"""
from ml_collections import ConfigDict

from configs import paper

SIZES = {
    '64': dict(width=192, channel_mult=(1, 2, 3, 4), num_res_blocks=3,
               attention=(0, 1, 1, 1), dropout=0.1),
    '128': dict(channel_mult=(1, 1, 2, 3, 4), attention=(0, 0, 1, 1, 1), heads=4),
    '256': dict(channel_mult=(1, 1, 2, 2, 4, 4), attention=(0, 0, 0, 1, 1, 1)),
    '512': dict(stem_channels=128, channel_mult=(0.5, 1, 1, 2, 2, 4, 4),
                attention=(0, 0, 0, 0, 1, 1, 1)),
}
STEPS = {'64': 540_000, '128': 4_360_000, '256': 1_980_000, '512': 1_940_000}


@paper.variants(*SIZES)
def get_config(size):
  c = paper.start()
  c.data.update(dict(source='tfds', path='imagenet2012', caption='label',
                     size=int(size), flip=True))
  c.model = ConfigDict(dict(
      name='unet', dtype='bfloat16', out_channels=6, width=256, num_res_blocks=2,
      attention_type='self', head_width=64, eps=1e-5, time_unit='index',
      resblock_updown=True) | SIZES[size])
  c.condition = ConfigDict(dict(name='class', classes=1000, null=False))
  c.diffusion.update(dict(
      schedule='cosine(steps=1000)' if size == '64' else 'linear(steps=1000)',
      target='eps', loss_weight='eps', vlb=0.001))
  c.optim.lr = 3e-4 if size == '64' else 1e-4
  c.train.update(dict(batch=2_048 if size == '64' else 256, steps=STEPS[size]))
  c.sample.update(dict(solver="ddpm(variance='learned')", steps=250,
                       timesteps='linspace', clip='static', prompts=paper.IMAGENET))
  return c
