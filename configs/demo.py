r"""About four minutes on two cores: one object a picture, and then `make demo`.

python train.py --config=configs/demo.py --workdir=runs/demo
"""
from configs import shapes


def get_config():
  c = shapes.get_config()
  c.data.update(dict(pictures=20_000, one=1.0))
  c.train.update(dict(steps=950, log_every=25, checkpoint_every=950, sample_every=475,
                      eval_every=950))
  c.optim.ema = 0.99
  c.sample.prompts = ('a red circle', 'a purple star', 'a green ring', 'a blue cross')
  c.eval.update(dict(num=76, kinds=('one object',)))
  return c
