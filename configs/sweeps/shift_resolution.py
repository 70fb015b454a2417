r"""Do larger pictures need more noise?

python sweep.py --config=configs/sweeps/shift_resolution.py --workdir=runs/shift

Simple diffusion (arXiv:2301.11093 section 3.1) and Stable Diffusion 3 (arXiv:2403.03206
eq. 23) shift the schedule towards noise by the ratio of the sides; then the best shift
at 64 pixels should be twice that at 32. The patch grows with the picture, so that the
network sees as many places. 16 runs of 600 steps: about 40 minutes on two cores.
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
  for size in (32, 64):
    for shift in (0.5, 1, 2, 4):
      yield f'{size} pixels, shift {shift}', {
          'data.size': size, 'model.patch': size // 8,
          'diffusion.schedule': f'flow(shift={shift})'}
