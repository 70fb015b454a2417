r"""The shapes world at 32 pixels, for two CPU cores and half an hour.

python train.py --config=configs/shapes.py --workdir=runs/shapes

What makes it fast: the network predicts the picture, not the noise, so it needs no
width to carry noise through; errors count alike at all times, so that what the caption
decides counts most; Muon; and a stochastic solver, which mends its mistakes on the way.
benchmarks/README.md has the measurements.
"""
from configs import base


def get_config():
  c = base.get_config()
  c.data.update(dict(source='shapes', size=32))
  c.tokenizer.update(dict(vocab=512, length=16))
  c.model.update(dict(width=56, channel_mult=(1, 2), num_res_blocks=1,
                      attention=(1, 1), head_width=28, groups=14, patch=4,
                      positions=True))
  c.condition.update(dict(width=128, depth=2, heads=4))
  c.diffusion.update(dict(schedule='flow', target='x0', loss_weight='x0',
                          time_sampling='logit_normal(mean=0.5)'))
  c.optim.update(dict(name='muon', lr=2e-3, decay='linear', decay_from=0.3,
                      ema=('exponential(decay=0.999)',)))
  c.train.update(dict(steps=5_200, batch=48, log_every=50, checkpoint_every=650,
                      sample_every=1_300, eval_every=1_300))
  c.sample.update(dict(solver='ddpm', steps=10, guidance=2.5, prompts=(
      'a red circle', 'a purple star', 'a green cross above a black ring',
      'an orange star above a blue triangle')))
  c.eval.num = 64
  return c
