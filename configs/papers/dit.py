r"""DiT of patches of 2 on ImageNet, in latents, by class: arXiv:2212.09748.

python train.py --config=configs/papers/dit.py:xl --workdir=runs/dit

Published FID of 50,000 samples of 250 steps against the statistics of the training set
(ADM's VIRTUAL_imagenet256_labeled.npz): XL after 7M steps 9.62, and 2.27 with a
guidance of 1.5 (table 2); at 512 pixels (xl512) 12.03 and 3.04 after 3M. After 400,000
steps without guidance S 68.4, B 43.5, L 23.3, XL 19.5 (table 4). 12.03 and those of
table 4 are from memory. Values are those of facebookresearch/DiT, train.py; 675M
parameters.

Not as published: guidance is of all four channels, and was of the first three.
bfloat16, where there was float32. Lanczos brings pictures to size. The average forgets
faster at first.
"""
from ml_collections import ConfigDict

from configs import paper

SIZES = {'xl': (1152, 28, 16), 'l': (1024, 24, 16), 'b': (768, 12, 12),
         's': (384, 12, 6), 'xl512': (1152, 28, 16)}  # width, depth, heads
STEPS = {'xl': 7_000_000, 'xl512': 3_000_000}


@paper.variants(*SIZES)
def get_config(size):
  width, depth, heads = SIZES[size]
  c = paper.start()
  c.data.update(dict(source='tfds', path='imagenet2012', caption='label', flip=True,
                     size=512 if size == 'xl512' else 256))
  c.autoencoder = ConfigDict(paper.SD_VAE)
  paper.freeze(c, [('autoencoder', 'sd-vae-ft-ema')])
  c.model = ConfigDict(dict(name='dit', dtype='bfloat16', out_channels=8, width=width,
                            depth=depth, heads=heads, time_unit='index'))
  c.condition = ConfigDict(dict(name='class', classes=1000, null=True))
  c.diffusion.update(dict(schedule='linear(steps=1000)', target='eps',
                          loss_weight='eps', vlb=0.001, caption_dropout=0.1))
  c.optim.lr = 1e-4
  c.train.update(dict(batch=256, steps=STEPS.get(size, 400_000)))
  c.sample.update(dict(solver="ddpm(variance='learned')", steps=250,
                       timesteps='linspace', guidance=1.5, prompts=paper.IMAGENET))
  return c
