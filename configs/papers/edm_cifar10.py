r"""EDM on CIFAR-10, by class or without: arXiv:2206.00364, config F.

python train.py --config=configs/papers/edm_cifar10.py:cond --workdir=runs/edm

Published FID (table 2): 1.79 by class (cond), 1.97 without (uncond), both DDPM++; 1.98
for NCSN++ without classes (uncond_ncsnpp, from memory). 35 evaluations; the least of
three sets of 50,000 samples, against the statistics of the 50,000 training pictures.
56M parameters, 2 days on 8 V100. Values are those of NVlabs/edm, train.py.

Not as published: pictures that are turned, scaled or moved are sampled between pixels
of twice the size, there through a wavelet filter. The average's half-life, 0.5M
pictures, ramps up by another formula.
"""
from ml_collections import ConfigDict

from configs import paper

NCSN = dict(time_embedding='fourier', time_channels=256, resample_filter=(1, 3, 3, 1),
            input_skips=True)


@paper.variants('cond', 'uncond', 'uncond_ncsnpp')
def get_config(kind):
  c = paper.start()
  c.data.update(dict(source='tfds', path='cifar10', caption='label', size=32))
  c.model = ConfigDict(dict(
      name='unet', dtype='float32', width=128, channel_mult=(2, 2, 2),
      num_res_blocks=4, attention=(0, 1, 0), attention_type='self', heads=1,
      time_embedding='ddpm', time_unit='edm', pooled_into='before', augment_labels=9,
      scale_shift=False, resblock_updown=True, skip_rescale=True, dropout=0.13)
      | (NCSN if kind == 'uncond_ncsnpp' else {}))
  c.condition = ConfigDict(dict(name='class', classes=10, null=False)
                           if kind == 'cond' else dict(name='none'))
  c.diffusion.update(dict(
      schedule='edm', target='edm', input_std=0.5, loss_weight='edm', augment=0.12,
      time_sampling='log_normal(mean=-1.2, std=1.2)'))
  c.train.update(dict(batch=512, steps=200_000_000 // 512))
  c.optim.update(dict(lr=1e-3, warmup=10_000_000 // 512,
                      ema=(f'exponential(decay={0.5 ** (512 / 500_000):.6f})',)))
  c.sample.update(dict(solver='heun', steps=18, timesteps='karras',
                       prompts=paper.CIFAR10))
  return c
