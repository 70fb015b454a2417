r"""Stable Diffusion 2.1 at 768 pixels, which predicts v: arXiv:2112.10752.

python train.py --config=configs/papers/sd21.py --workdir=runs/sd21 \
    --config.data.path="laion/{00000..99999}.tar"

Published: curves of FID against CLIP score as for 1.5, no number. 866M parameters and
OpenCLIP ViT-H's text encoder up to its last layer but one, 340M, frozen. Data is
LAION-5B without what its classifier takes for explicit, of an aesthetic score of 4.5
and more, in stages (model cards): 550,000 steps at 256 pixels and 850,000 at 512
predicting noise, 150,000 at 512 and 140,000 at 768 predicting v, then for 2.1 another
55,000 and 155,000. Fields are those of Stability-AI/generative-models,
configs/inference/sd_2_1_768.yaml.

Not as published: one stage at 768 pixels for as many steps as all of theirs, with v and
dropped captions throughout. Rate, warm-up and weight decay are those of 1.5: the cards
do not say. 50 steps of DDIM. bfloat16. Pictures are cropped in the middle.
"""
from ml_collections import ConfigDict

from configs import paper
from configs.papers import sd15


@paper.variants()
def get_config():
  c = sd15.get_config().unlock()
  c.data.size = 768
  paper.freeze(c, [('autoencoder', 'stable-diffusion-2-1/vae'),
                   ('text_encoder', 'stable-diffusion-2-1/text_encoder')],
               [('stable-diffusion-2-1/tokenizer', 77)])
  fields = c.model.to_dict()
  del fields['heads']
  c.model = ConfigDict(fields | dict(head_width=64))
  c.condition = ConfigDict(dict(
      name='clip', width=1024, depth=23, heads=16, act='gelu', pad=0))
  c.diffusion.update(dict(target='v', loss_weight='v'))
  c.train.steps = 1_900_000
  return c
