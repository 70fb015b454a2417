r"""About four minutes on two cores: one object a picture, and then `make demo`.

python train.py --config=configs/demo.py --workdir=runs/demo
"""
from configs import shapes


def get_config():
  c = shapes.get_config()
  c.data.update(dict(pictures=20_000, single_share=1.0))
  c.model.update(dict(width=40, head_width=20, groups=10))
  c.optim.update(dict(lr=3e-3, warmup=40, ema=('exponential(decay=0.99)',)))
  c.train.update(dict(steps=1_100, batch=32, log_every=25, checkpoint_every=1_100,
                      sample_every=550, eval_every=1_100))
  c.sample.steps = 40  # as its figures in the docs
  c.sample.prompts = ('a red circle', 'a purple star', 'a green ring', 'a blue cross')
  c.eval.update(dict(num=76, kinds=('one object',)))
  return c
