r"""What should the network predict, and how should its errors count?

python sweep.py --config=configs/sweeps/target_weighting.py --workdir=runs/targets

The target is arXiv:2202.00512's question (x0, v, eps), the weight arXiv:2303.09556's
(min-SNR); 'x0' counts errors of the picture alike at all times, 'v' is SNR + 1.
18 runs of 600 steps: about 40 minutes on two cores.
"""
from configs import demo

METRIC, SEEDS = 'accuracy/one_object', 2


def get_config():
  c = demo.get_config()
  c.train.update(dict(steps=600, eval_every=150, checkpoint_every=600, keep=1,
                      sample_every=0))
  c.sample.steps = 20
  return c


def sweep():
  for target in ('x0', 'v', 'eps'):
    for weight in ('x0', 'min_snr', 'v'):
      yield {'diffusion.target': target, 'diffusion.weight': weight}
