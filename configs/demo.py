r"""About four minutes on two cores: one object a picture, and then `make demo`.

python train.py --config=configs/demo.py --workdir=runs/demo
"""
from configs import shapes


def get_config():
  c = shapes.get_config()
  c.data.update(dict(pictures=20_000, one=1.0))
  c.train.update(dict(steps=1_100, log_every=50, checkpoint_every=1_100,
                      sample_every=400, eval_every=1_100))
  c.optim.ema = 0.99
  c.sample.prompts = ('a red circle', 'a purple star', 'a green ring', 'a blue cross')
  c.eval.update(dict(num=152, kinds=('one object',)))
  return c
