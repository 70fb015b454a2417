"""What the configs of configs/finetune/ share: the models that they start from.

    python train.py --config=configs/finetune/lora.py:sd15 --workdir=runs/style
    python train.py --config=configs/finetune/lora.py:sd15,reduced --workdir=runs/small
"""
import importlib

from configs import paper, shapes

PUBLIC = 'weights/public'
BASES = {  # name -> (paper, its variant, folder of the weights, that of the backbone)
    'sd15': ('sd15', (), 'stable-diffusion-v1-5', 'unet'),
    'sdxl': ('sdxl', (), 'stable-diffusion-xl-base-1.0', 'unet'),
    'sd3': ('sd3', ('medium',), 'stable-diffusion-3-medium-diffusers', 'transformer')}
ATTENTION = 'backbone/.*/(self|cross|attention)/(text_)?(q|k|v|out)'  # names of layers
NAMES = ('shapes', *BASES)


def start(name: str):
  """The config of a trained model of which all is frozen, to be fine-tuned on a folder.

  name: of NAMES. `shapes` are the weights that the project ships; public ones lie in
  folders named as on the Hugging Face hub, below weights/public.
  """
  if name == 'shapes':
    c = shapes.get_config().unlock()
    c.init_from = (('text_encoder', 'weights/shapes'), ('backbone', 'weights/shapes'))
    c.train.update(dict(batch=16, log_every=25))
  else:
    module, words, folder, backbone = BASES[name]
    c = importlib.import_module(f'configs.papers.{module}').get_config(*words).unlock()
    c.init_from += (('backbone', f'{PUBLIC}/{folder}/{backbone}'),)
    c.optim.frozen_dtype = 'bfloat16'
    c.model.remat = 'full'
    c.train.update(dict(batch=4, log_every=10))
  c.data.update(dict(source='folder', path='pictures', crop='centre'))
  c.optim.update(dict(name='adamw', lr=1e-4, warmup=0, decay='constant', b2=0.999,
                      clip=1.0, weight_decay=(('.*', 0.0),),
                      lr_scale=(('.*', 0.0),), ema=('exponential(decay=0.99)',)))
  c.train.update(dict(steps=1_000, checkpoint_every=250, sample_every=250, eval_every=0,
                      averages_every=0))
  return c


def variants(*names):
  """As paper.variants, of those of NAMES; of all where none is given."""
  return paper.variants(*(names or NAMES))
