r"""EDM's ADM network on ImageNet at 64 pixels, by class: arXiv:2206.00364, config F.

python train.py --config=configs/papers/edm_imagenet64.py --workdir=runs/edm64

Published: FID 1.36 (table 3) with the stochastic sampler, 511 evaluations; the least of
three sets of 50,000 samples against imagenet-64x64.npz, the statistics of the training
set cropped and resized as for training. 296M parameters, 13 days on 32 A100. Values are
those of NVlabs/edm, README.md.

Not as published: bfloat16, where there was float16 with scaling of the loss; the
average's half-life, 50M pictures, ramps up by another formula; Lanczos brings pictures
to size. config.data.path can also be imagenet_resized/64x64 of tensorflow-datasets,
which is resized by other means, so that its statistics differ.
"""
from configs import paper
from configs.papers import adm


@paper.variants()
def get_config():
  c = adm.get_config('64').unlock()
  c.data.flip = False
  c.model.update(dict(out_channels=3, time_unit='edm'))
  c.diffusion.update(dict(
      schedule='edm', target='edm', input_std=0.5, loss_weight='edm', vlb=0.0,
      time_sampling='log_normal(mean=-1.2, std=1.2)'))
  c.train.update(dict(batch=4_096, steps=2_500_000_000 // 4_096))
  c.optim.update(dict(lr=1e-4, warmup=10_000_000 // 4_096,
                      ema=(f'exponential(decay={0.5 ** (4_096 / 50e6):.7f})',)))
  c.sample.update(dict(
      solver=f'edm(churn={40 / 256}, low=0.05, high=50.0, noise=1.003)', steps=256,
      timesteps='karras', clip='none'))
  return c
