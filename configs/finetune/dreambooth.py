r"""DreamBooth: a few pictures of a subject, and what its class looked like before.

python train.py --config=configs/finetune/dreambooth.py:sd15 --workdir=runs/dog \
    --config.data.mixture="((1.0, {'path': 'subject'}), (1.0, {'path': 'prior'}))"

arXiv:2208.12242. The mixture has two folders, of which the first has the subject's
pictures, with a rare word in their caption, and the second many pictures of the class
that the model drew itself (`sample.py --num=200 --out=...`). A picture's caption is the
name of the folder that it lies in: subject/a sks dog/01.jpg, prior/a dog/0000.png. The
weights of the mixture are those of the two losses: with 1.0 and 1.0, as in the paper
(eq. 2, lambda = 1), half of each batch is of either.

The attention has adapters of rank 16; `config.lora.layers=()` with
`config.optim.lr_scale` trains the backbone itself, as the paper does.
"""
from configs import finetuning


@finetuning.variants()
def get_config(name):
  c = finetuning.start(name)
  c.lora.update(dict(layers=(finetuning.ATTENTION,), rank=16, alpha=16.0))
  c.data.update(dict(caption='folder', mixture=(
      (1.0, {'path': 'subject'}), (1.0, {'path': 'prior'}))))
  c.optim.lr_scale = (('lora/.*', 1.0), ('.*', 0.0))
  c.diffusion.caption_dropout = 0.0
  c.train.steps = 800
  c.sample.prompts = ('a sks dog', 'a dog', 'a sks dog in a bucket')
  if name == 'shapes':
    c.lora.layers = ('(backbone|text_encoder)/.*(q|k|v|out|up|down)',)
    c.optim.lr = 2e-3
    c.train.update(dict(steps=300, checkpoint_every=100, sample_every=100))
    c.sample.prompts = ('a sks heart', 'a red circle')
  return c
