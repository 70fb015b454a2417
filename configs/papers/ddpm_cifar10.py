r"""DDPM on CIFAR-10, unconditional: arXiv:2006.11239.

python train.py --config=configs/papers/ddpm_cifar10.py --workdir=runs/ddpm

Published: FID 3.17, Inception score 9.46 (table 1, L_simple): 50,000 samples against
the statistics of the 50,000 training pictures. 35.7M parameters; 800,000 steps took
10.6 hours on a TPU v3-8 (appendix B). Values are those of hojonathanho/diffusion,
scripts/run_cifar.py; its variance is the larger of the paper's two.

Not as published: the average forgets faster in its first 90,000 steps.
"""
from ml_collections import ConfigDict

from configs import paper


@paper.variants()
def get_config():
  c = paper.start()
  c.data.update(dict(source='tfds', path='cifar10', caption='label', size=32,
                     flip=True))
  c.model = ConfigDict(dict(
      name='unet', dtype='float32', width=128, channel_mult=(1, 2, 2, 2),
      num_res_blocks=2, attention=(0, 1, 0, 0), attention_type='self', heads=1,
      time_embedding='ddpm', time_unit='index',
      scale_shift=False, dropout=0.1))
  c.condition = ConfigDict(dict(name='none'))
  c.diffusion.update(dict(schedule='linear(steps=1000)', target='eps',
                          loss_weight='eps'))
  c.optim.update(dict(lr=2e-4, warmup=5_000, clip=1.0))
  c.train.update(dict(batch=128, steps=800_000))
  c.sample.update(dict(solver="ddpm(variance='large')", steps=1_000,
                       timesteps='trailing',
                       clip='static', prompts=paper.CIFAR10[:1], num=16))
  return c
