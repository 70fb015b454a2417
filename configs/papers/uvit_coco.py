r"""U-ViT-S/2 on MS-COCO at 256 pixels, from text, in latents: arXiv:2209.12152.

python train.py --config=configs/papers/uvit_coco.py --workdir=runs/uvit
python train.py --config=configs/papers/uvit_coco.py:deep --workdir=runs/uvit_deep

Published FID of 30,000 samples of captions of the validation set against the statistics
of that set at 256 pixels (table 3): S/2 5.95, S/2 Deep 5.48, after 1M steps of 256
pictures; 50 steps of DPM-Solver, guidance 2 (there counted as 1). 45M and 58M
parameters: the cheapest published text-to-image result. Values are those of
baofff/U-ViT, configs/mscoco_uvit.py and train_t2i_discrete.py.

Not as published: DPM-Solver++ is a multistep one of third order, and was a singlestep
one (from memory). The average forgets faster at first. bfloat16 in place of float16.
"""
from ml_collections import ConfigDict

from configs import paper


@paper.variants('small', 'deep')
def get_config(kind):
  c = paper.start()
  c.data.update(dict(source='tfds', path='coco_captions', caption='captions/text',
                     size=256))
  c.autoencoder = ConfigDict(paper.SD_VAE | dict(scale=0.2301))
  paper.freeze(c, [('autoencoder', 'stable-diffusion-v1-5/vae'),
                   ('text_encoder', 'clip-vit-large-patch14')],
               [('clip-vit-large-patch14', 77)])
  c.model = ConfigDict(dict(name='uvit', dtype='bfloat16', width=512, heads=8,
                            depth=16 if kind == 'deep' else 12))
  c.condition = ConfigDict(dict(name='clip'))
  c.diffusion.update(dict(schedule='scaled_linear(steps=1000)', target='eps',
                          loss_weight='eps', caption_dropout=0.1))
  c.optim.update(dict(lr=2e-4, warmup=5_000, b1=0.9, b2=0.9,
                      weight_decay=(('.*', 0.03),)))
  c.train.update(dict(batch=256, steps=1_000_000))
  c.sample.update(dict(solver='dpmpp_3m', steps=50, timesteps='linspace', guidance=2.0,
                       prompts=paper.PROMPTS))
  return c
