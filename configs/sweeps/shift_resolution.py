r"""Do larger pictures need more noise?

python sweep.py --config=configs/sweeps/shift_resolution.py --workdir=runs/shift

Simple diffusion (arXiv:2301.11093 section 3.1) and Stable Diffusion 3 (arXiv:2403.03206
eq. 23) shift the schedule towards noise by the ratio of the sides; then the best shift
at 64 pixels should be twice that at 32. The patch grows with the picture, so that the
network sees as many places. 18 runs of 600 steps: about an hour on two cores.
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
  for size in (32, 64):
    for shift in (1, 2, 4):
      yield f'{size} pixels, shift {shift}', {
          'data.size': size, 'model.patch': size // 8,
          'diffusion.schedule': f'flow(shift={shift})'}
