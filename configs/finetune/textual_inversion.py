r"""Textual inversion: a new word for what a few pictures show (arXiv:2208.01618).

python train.py --config=configs/finetune/textual_inversion.py:sd15 --workdir=runs/toy \
    --config.data.path=pictures

The captions have the word, `<toy>`: each picture's .txt may have several lines, such as
"a photo of a <toy>" and "a close-up photo of a <toy>", of which one is drawn. It starts
as the word `toy`; all else is frozen. The rate is that of diffusers' script (from
memory), the paper's 5,000 steps.
"""
from configs import finetuning


@finetuning.variants('shapes', 'sd15', 'sdxl')
def get_config(name):
  c = finetuning.start(name)
  c.tokenizer.added = (('<toy>', 'toy', 1),)
  c.optim.update(dict(lr=5e-4, lr_scale=(('.*/embed/new', 1.0), ('.*', 0.0))))
  c.train.steps = 5_000
  c.sample.prompts = ('a photo of a <toy>', 'a <toy> on the beach')
  if name == 'shapes':
    c.tokenizer.added = (('<toy>', 'circle', 2),)
    c.optim.lr = 2e-2
    c.train.update(dict(steps=300, checkpoint_every=100, sample_every=100))
    c.sample.prompts = ('a <toy>', 'a <toy> left of a blue square')
  return c
