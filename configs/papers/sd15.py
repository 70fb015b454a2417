r"""Stable Diffusion 1.5, a latent diffusion model of text: arXiv:2112.10752.

python train.py --config=configs/papers/sd15.py --workdir=runs/sd15 \
    --config.data.path="laion/{00000..99999}.tar"

Published: curves of FID against CLIP score (model card; 10,000 prompts of the COCO 2017
validation set, 50 PLMS steps, guidance 1.5 to 8), no number. Others measured a
zero-shot FID of 13.05 for version 1.4, of 30,000 COCO captions at 256 pixels (from
memory); the paper's own text-to-image model, of 1.45B parameters, has 12.63 (table 2,
from memory). 860M parameters and CLIP ViT-L/14's 123M, frozen; 150,000 A100 hours to
version 1.3. Data is LAION-2B-en in stages: 237,000 steps at 256 pixels, then at 512
194,000 of larger pictures, 515,000 and 595,000 of those with better aesthetic scores.
Batch, rate and stages are those of the model cards; the fields those of
CompVis/stable-diffusion, configs/stable-diffusion/v1-inference.yaml. Weight decay 0.01
and the average's decay 0.9999 are the defaults of that code (from memory).

Not as published: one stage at 512 pixels for as many steps as all of theirs; captions
are dropped from the start, and were in the last stage only. 50 steps of DDIM, not PLMS.
bfloat16. Pictures are cropped in the middle.
"""
from ml_collections import ConfigDict

from configs import paper


@paper.variants()
def get_config():
  c = paper.start()
  c.data.update(dict(source='webdataset', path='', size=512))
  c.autoencoder = ConfigDict(paper.SD_VAE)
  paper.freeze(c, [('autoencoder', 'stable-diffusion-v1-5/vae'),
                   ('text_encoder', 'stable-diffusion-v1-5/text_encoder')],
               [('stable-diffusion-v1-5/tokenizer', 77)])
  c.model = ConfigDict(dict(
      name='unet', dtype='bfloat16', width=320, channel_mult=(1, 2, 4, 4),
      num_res_blocks=2, attention=(1, 1, 1, 0), attention_type='spatial', heads=8,
      eps=1e-5, time_unit='index', pad=(1, 1), scale_shift=False))
  c.condition = ConfigDict(dict(name='clip'))
  c.diffusion.update(dict(schedule='scaled_linear(steps=1000)', target='eps',
                          loss_weight='eps', caption_dropout=0.1))
  c.optim.update(dict(lr=1e-4, warmup=10_000, weight_decay=(('.*', 0.01),)))
  c.train.update(dict(batch=2_048, steps=1_541_000))
  c.sample.update(dict(solver='ddim', steps=50, timesteps='leading(offset=1)',
                       guidance=7.5, prompts=paper.PROMPTS))
  return c
