r"""EDM2 on ImageNet at 512 pixels, in latents, by class: arXiv:2312.02696, config G.

python train.py --config=configs/papers/edm2.py:s --workdir=runs/edm2
python export.py --workdir=runs/edm2 --ema=0.13 --out=weights/edm2

Published FID without guidance (table 2): XS 3.53, S 2.56, M 2.25, L 2.06, with averages
of std 0.135, 0.13, 0.1 and 0.085; 32 steps, 63 evaluations; the least of several sets
of 50,000 samples against the statistics of the training set at 512 pixels. Guided by an
unconditional XS: S 2.23, with std 0.025 and a scale of 1.4; by an XS of a sixteenth of
the training (arXiv:2406.02507; sample.py --weak): S 1.34. S has 280M parameters. Values
are those of NVlabs/edm2, train_edm2.py and generate_images.py.

Not as published: latents are scaled by one number, to a standard deviation of about
0.5, where there each channel has a mean and a scale. The layer of the learned
uncertainty is a plain one, which starts at zero. bfloat16 in place of
float16; a gradient that is not finite skips a step, where there its entries become
zero.
"""
from ml_collections import ConfigDict

from configs import paper

SIZES = {'s': (192, 0.0100, 2_048), 'xs': (128, 0.0120, 2_048),
         'm': (256, 0.0090, 2_048), 'l': (320, 0.0080, 1_792)}  # width, rate, 2^20 seen
BATCH = 2_048


@paper.variants(*SIZES)
def get_config(size):
  width, rate, seen = SIZES[size]
  steps = seen * 2**20 // BATCH
  c = paper.start()
  c.data.update(dict(source='tfds', path='imagenet2012', caption='label', size=512))
  c.autoencoder = ConfigDict(paper.SD_VAE | dict(scale=0.5 * 0.18215))
  paper.freeze(c, [('autoencoder', 'sd-vae-ft-mse')])
  c.model = ConfigDict(dict(name='edm2', dtype='bfloat16', width=width,
                            channel_mult=(1, 2, 3, 4), attention=(0, 0, 1, 1),
                            dropout=0.1 if size in 'ml' else 0.0))
  c.condition = ConfigDict(dict(name='class', classes=1000, null=False))
  c.diffusion.update(dict(
      schedule='edm', target='edm', input_std=0.5, loss_weight='edm',
      learned_weight=True, time_sampling='log_normal(mean=-0.4, std=1.0)'))
  c.train.update(dict(batch=BATCH, steps=steps, averages_every=8 * 2**20 // BATCH))
  c.optim.update(dict(
      lr=rate, warmup=10_000_000 // BATCH, decay='rsqrt', decay_from=70_000 / steps,
      b2=0.99, unit_rms=(('backbone/.*kernel', True), ('.*', False)),
      ema=('power(std=0.05)', 'power(std=0.1)')))
  c.sample.update(dict(solver='heun', steps=32, timesteps='karras',
                       prompts=paper.IMAGENET))
  return c
