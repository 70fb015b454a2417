r"""Improved DDPM on CIFAR-10, unconditional, cosine schedule: arXiv:2102.09672.

python train.py --config=configs/papers/improved_ddpm_cifar10.py --workdir=runs/iddpm

Published, with L_hybrid after 500,000 steps: FID 3.19 and 3.17 bits a dimension (table
2, from memory): 50,000 samples of 4,000 steps against the training pictures'
statistics. 52.5M parameters. Values are those of openai/improved-diffusion, README.md.

L_simple, at 3.05 in that table (from memory), is --config.diffusion.vlb=0
--config.sample.solver=ddpm. Bits a dimension: evaluate.py --metrics=vlb.

Not as published: the network is told 1000 t, which is 0.25 more than the number there.
The average forgets faster in its first 90,000 steps. Pictures are not flipped, as in
that code (from memory).
"""
from ml_collections import ConfigDict

from configs import paper


@paper.variants()
def get_config():
  c = paper.start()
  c.data.update(dict(source='tfds', path='cifar10', caption='label', size=32))
  c.model = ConfigDict(dict(
      name='unet', dtype='float32', out_channels=6, width=128,
      channel_mult=(1, 2, 2, 2), num_res_blocks=3, attention=(0, 1, 1, 0),
      attention_type='self', heads=4, eps=1e-5, time_unit='steps', pad=(1, 1),
      dropout=0.3))
  c.condition = ConfigDict(dict(name='none'))
  c.diffusion.update(dict(schedule='cosine(steps=4000)', target='eps',
                          loss_weight='eps', vlb=0.001))
  c.optim.lr = 1e-4
  c.train.update(dict(batch=128, steps=500_000))
  c.sample.update(dict(solver="ddpm(variance='learned')", steps=4_000,
                       timesteps='trailing(trained=4000)', clip='static',
                       prompts=paper.CIFAR10[:1], num=16))
  return c
