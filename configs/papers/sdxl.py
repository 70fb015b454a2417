r"""SDXL's base model at 1024 pixels: arXiv:2307.01952.

python train.py --config=configs/papers/sdxl.py --workdir=runs/sdxl \
    --config.data.path="pictures/{00000..99999}.tar"

Published: people prefer it to 1.5 and 2.1 (figure 1); its zero-shot FID on COCO is
worse than theirs (appendix F), without a number to aim at. 2.57B parameters; CLIP
ViT-L/14 and OpenCLIP ViT-bigG, 818M, frozen. Data is internal: 600,000 steps of 2,048
pictures at 256 pixels, 200,000 at 512, then an unknown number at about 1024 pixels and
many aspect ratios (section 2.5). Fields and the latents' scale are those of
Stability-AI/generative-models, configs/inference/sd_xl_base.yaml.

Not as published: one stage of square pictures at 1024 pixels, 800,000 steps; no offset
noise, which had a level of 0.05; no refiner. The paper gives no optimizer: rate,
warm-up, weight decay and dropped captions are those of 1.5. 50 steps of DDIM with
guidance 5. bfloat16.
"""
from ml_collections import ConfigDict

from configs import paper
from configs.papers import sd15

HUB = 'stable-diffusion-xl-base-1.0'


@paper.variants()
def get_config():
  c = sd15.get_config().unlock()
  c.data.size = 1024
  c.autoencoder.scale = 0.13025
  paper.freeze(c, [('autoencoder', f'{HUB}/vae'),
                   ('text_encoder/clip_l', f'{HUB}/text_encoder'),
                   ('text_encoder/clip_g', f'{HUB}/text_encoder_2')],
               [(f'{HUB}/tokenizer', 77)])
  fields = c.model.to_dict() | dict(
      channel_mult=(1, 2, 4), attention=(0, 2, 10), mid_attention=10, head_width=64,
      pooled_into='mlp', size_features=256)
  del fields['heads']
  c.model = ConfigDict(fields)
  c.condition = ConfigDict(dict(name='sdxl'))
  c.train.steps = 800_000
  c.sample.guidance = 5.0
  return c
