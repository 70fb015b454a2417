r"""The shapes world at 32 pixels, for a laptop without a GPU.

python train.py --config=configs/shapes.py --workdir=runs/shapes
"""
from configs import base


def get_config():
  c = base.get_config()
  c.data.update(dict(source='shapes', size=32))
  c.model.update(dict(width=64, mults=(1, 2), blocks=1, patch=4, positions=True))
  c.diffusion.update(dict(target='x0', weight='flow'))
  c.sample.prompts = (
      'a red circle', 'a blue star', 'a green cross above a black ring',
      'a purple square left of an orange triangle')
  return c
