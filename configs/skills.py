r"""GenEval's six skills, three and four objects in the shapes world, 32 or 64 pixels.

python train.py --config=configs/skills.py --workdir=runs/skills
python train.py --config=configs/skills.py:64 --workdir=runs/skills64

The recipe of configs/shapes.py, with longer captions and twice the steps. At 64 pixels
the patch grows, so that the network sees as many places.
"""
from configs import shapes

SIZES = {'': 32, '32': 32, '64': 64}


def get_config(size: str = ''):
  if size not in SIZES:
    raise ValueError(f'{size!r} is not one of {sorted(filter(None, SIZES))}.')
  c = shapes.get_config()
  c.data.update(dict(source='skills', size=SIZES[size]))
  c.model.patch = SIZES[size] // 8
  c.tokenizer.length = 24
  c.train.update(dict(steps=10_400))
  c.sample.prompts = (
      'three red circles', 'a star left of a ring', 'a blue cross and a purple circle',
      'a red star, a green square, a yellow ring and a black circle')
  c.eval.update(dict(split='color_attr', kinds=(
      'single_object', 'two_object', 'counting', 'colors', 'position',
      'color_attr', 'three_objects', 'four_objects')))
  return c
