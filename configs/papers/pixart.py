r"""PixArt-alpha at 512 or 1024 pixels: arXiv:2310.00426.

python train.py --config=configs/papers/pixart.py:512 --workdir=runs/pixart \
    --config.data.path="pictures/{00000..99999}.tar"

Published: zero-shot FID 7.32 on COCO (table 2; 30,000 captions, from memory). 0.61B
parameters and T5-v1.1-XXL's encoder, 4.76B, frozen; 675 A100 days, $26,000, of which
this is a late stage. Data: ImageNet for the first stage, 10M pictures of SAM with
captions of LLaVA, then internal ones and JourneyDB, 25M in all. Rate, warm-up, weight
decay, clipping and the average are those of PixArt-alpha/PixArt-alpha,
configs/pixart_config.

Not as published: this is the last stage alone, and from nothing; the published one
starts from 256 pixels and that from ImageNet classes. Batch and steps are assumptions,
of the size of the paper's table of stages. Captions have 120 tokens and are dropped by
0.1 (from memory). Adam's epsilon is 1e-8, not 1e-10. Pictures are square.
bfloat16; the average forgets faster at first.
"""
from ml_collections import ConfigDict

from configs import paper

T5 = 'stable-diffusion-3-medium-diffusers/'  # which has T5-v1.1-XXL as safetensors


@paper.variants('512', '1024')
def get_config(size):
  c = paper.start()
  c.data.update(dict(source='webdataset', path='', size=int(size), flip=True))
  c.autoencoder = ConfigDict(paper.SD_VAE)
  paper.freeze(c, [('autoencoder', 'sd-vae-ft-ema'),
                   ('text_encoder', f'{T5}text_encoder_3')],
               [(f'{T5}tokenizer_3', 120)])
  c.model = ConfigDict(dict(
      name='dit', dtype='bfloat16', out_channels=8, width=1152, depth=28, heads=16,
      adaln_single=True, cross_attention=True, size_embedding=size == '1024',
      time_unit='index', pos_scale=512 / int(size)))
  c.condition = ConfigDict(dict(name='t5'))
  c.diffusion.update(dict(schedule='linear(steps=1000)', target='eps',
                          loss_weight='eps', vlb=0.001, caption_dropout=0.1))
  c.optim.update(dict(lr=2e-5, warmup=1_000, weight_decay=(('.*', 0.03),), clip=0.01))
  c.train.update(dict(batch=2_432 if size == '512' else 384,
                      steps=100_000 if size == '512' else 16_000))
  c.sample.update(dict(solver='dpmpp_2m', steps=20, timesteps='linspace(more=1)',
                       guidance=4.5, prompts=paper.PROMPTS))
  return c
