r"""Stable Diffusion 3 medium, 3.5 medium and 3.5 large: arXiv:2403.03206.

python train.py --config=configs/papers/sd3.py:medium --workdir=runs/sd3 \
    --config.data.path="pictures/{00000..99999}.tar"

Published (table 5): GenEval 0.74 for the paper's own model of 8B with DPO at 1024
pixels; 0.68 for it and 0.62 for that of 24 blocks, of the size of medium, at 512 (the
last two from memory). 3.5 has no paper. 2.03B, 2.24B and 8.06B parameters; CLIP ViT-L,
OpenCLIP bigG and T5-v1.1-XXL, frozen. Data is internal, half of the captions by CogVLM:
500,000 steps of 4,096 pictures at 256 pixels, then fewer at about 1024 (sections 5.3
and 5.2.1, from memory). The autoencoder's scale and shift are those of the released
models.

Not as published: one stage of square pictures at 1024 pixels for 500,000 steps; no DPO.
Rate and weight decay are assumptions; the average's decay is 0.9999 (0.99 every 100
steps there, from memory). The three text encoders are dropped together in a tenth of
the captions, and were each on its own in 46.4% (from memory). Times at 1024 pixels are
shifted by 3, as the paper finds best. 28 steps of Euler, guidance 7 for 3 and 3.5 for
3.5 large, are the released models' settings (from memory). bfloat16.
"""
import math

from ml_collections import ConfigDict

from configs import paper

SIZES = {
    'medium': dict(width=1536, depth=24, heads=24),
    '3.5-medium': dict(width=1536, depth=24, heads=24, pos_embed_max_size=384,
                       pos_scale=1 / 6, dual=13, qk_norm=True),
    '3.5-large': dict(width=2432, depth=38, heads=38, qk_norm=True),
}
HUB = {'medium': 'stable-diffusion-3-medium-diffusers',
       '3.5-medium': 'stable-diffusion-3.5-medium',
       '3.5-large': 'stable-diffusion-3.5-large'}


@paper.variants(*SIZES)
def get_config(size):
  c = paper.start()
  c.data.update(dict(source='webdataset', path='', size=1024))
  c.autoencoder = ConfigDict(paper.SD3_VAE)
  hub = HUB[size]
  paper.freeze(c, [('autoencoder', f'{hub}/vae'),
                   ('text_encoder/clip_l', f'{hub}/text_encoder'),
                   ('text_encoder/clip_g', f'{hub}/text_encoder_2'),
                   ('text_encoder/t5', f'{hub}/text_encoder_3')],
               [(f'{hub}/tokenizer', 77), (f'{hub}/tokenizer_3', 256)])
  c.model = ConfigDict(dict(name='mmdit', dtype='bfloat16', remat='dots') | SIZES[size])
  c.condition = ConfigDict(dict(name='sd3'))
  c.diffusion.update(dict(
      schedule='flow', target='flow', loss_weight='flow', caption_dropout=0.1,
      time_sampling=f'logit_normal(mean={math.log(3):.4f}, std=1.0)'))
  c.optim.update(dict(lr=1e-4, warmup=1_000, weight_decay=(('.*kernel', 0.01),
                                                           ('.*', 0.0))))
  c.train.update(dict(batch=4_096, steps=500_000))
  c.sample.update(dict(solver='euler', steps=28,
                       timesteps='shifted(shift=3.0, end=0.002994)',
                       guidance=7.0 if size == 'medium' else 3.5,
                       prompts=paper.PROMPTS))
  return c
