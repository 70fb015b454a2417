r"""What should the network predict, and how should its errors count?

python sweep.py --config=configs/sweeps/target_weighting.py --workdir=runs/targets

The targets are those of arXiv:2202.00512. Weight 'x0' counts errors of the picture
alike at all times; 'min_snr' (arXiv:2303.09556) less where there is more noise.
18 runs of 600 steps: 53 minutes on two cores. docs/sweeps.md has the result.
"""
from configs import demo

METRIC, SEEDS = 'accuracy/one_object', 3


def get_config():
  c = demo.get_config()
  c.train.update(dict(steps=600, eval_every=200, checkpoint_every=600, keep=1,
                      sample_every=0))
  c.sample.update(dict(steps=20, batch=76))
  return c


def sweep():
  for target in ('x0', 'v', 'eps'):
    for weight in ('x0', 'min_snr'):
      yield {'diffusion.target': target, 'diffusion.loss_weight': weight}
