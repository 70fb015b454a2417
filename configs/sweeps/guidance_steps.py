r"""How much guidance, and how many steps?

python sweep.py --config=configs/sweeps/guidance_steps.py --workdir=runs/guidance

Guidance (arXiv:2207.12598) trades variety for what the prompt says, and a scale that is
good with many steps may be too much for few. Only drawing differs: one training a seed
serves all diffs. 3 runs of 1,100 steps, and 9 diffs drawn at 4 steps of each: about
half an hour on two cores.
"""
from configs import demo

METRIC, SEEDS = 'accuracy/one_object', 3


def get_config():
  c = demo.get_config()
  c.train.update(dict(steps=1_100, eval_every=275, keep=1, sample_every=0))
  c.sample.batch = 76
  return c


def sweep():
  for scale in (1.0, 2.5, 5.0):
    for steps in (10, 20, 40):
      yield {'sample.guidance': scale, 'sample.steps': steps}
