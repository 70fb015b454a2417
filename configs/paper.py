"""What the configs of papers share: where they start, and how one is chosen.

    python train.py --config=configs/papers/dit.py:b --workdir=runs/dit_b
    python train.py --config=configs/papers/dit.py:b,reduced --workdir=runs/small
"""
import functools

from configs import base, reduced

SD_VAE = dict(name='kl', width=128, channel_mult=(1, 2, 4, 4), channels=4,
              scale=0.18215)
SD3_VAE = SD_VAE | dict(channels=16, scale=1.5305, shift=0.0609, quant=False)
NO_CLIP = float('inf')  # of gradients
CIFAR10 = ('airplane', 'cat', 'horse', 'ship')
IMAGENET = ('n01443537', 'n02099601', 'n02123045', 'n07753592')  # of tfds's labels:
#            goldfish, golden retriever, tabby cat, banana
PROMPTS = ('a photo of a cat on a sofa', 'a bowl of fruit on a wooden table',
           'a street in the rain at night', 'a red bus in front of a castle')


def variants(*names):
  """Makes a get_config from `make(name)`, or from `make()` where there are no names.

  --config=FILE:NAME chooses one, the first where none is given; the word `reduced`,
  alone or after a comma, makes it small enough for a test.
  """
  def decorate(make):
    @functools.wraps(make)
    def get_config(words: str = ''):
      given = words.split(',') if words else []
      small = 'reduced' in given
      chosen = [word for word in given if word != 'reduced'] or list(names[:1])
      if len(chosen) > 1 or set(chosen) - set(names):
        raise ValueError(f'{words!r} is not one of {sorted([*names, "reduced"])}, or a '
                         'name and reduced with a comma between.')
      c = make(*chosen)
      return base.lock(reduced.reduced(c) if small else c)
    get_config.names = names or ('',)
    return get_config
  return decorate


def start():
  """What most of the papers do alike: plain Adam and uniform, independent times."""
  c = base.get_config()
  c.tokenizer.length = 2  # of a class; a text has a length of its own
  c.diffusion.update(dict(time_sampling='uniform', stratified=False,
                          caption_dropout=0.0))
  c.optim.update(dict(decay='constant', warmup=0, b2=0.999, clip=NO_CLIP,
                      weight_decay=(('.*', 0.0),), ema=('exponential(decay=0.9999)',)))
  c.train.update(dict(log_every=100, checkpoint_every=5_000, sample_every=10_000))
  c.sample.update(dict(guidance=1.0, clip='none'))
  return c.unlock()


def freeze(c, weights, tokenizers=()):
  """Leaves the autoencoder and the text encoder as published.

  weights: (part, folder) of each. tokenizers: (folder, length) of each. The folders
  are named as on the Hugging Face hub.
  """
  c.init_from = tuple((part, f'weights/public/{folder}') for part, folder in weights)
  c.optim.lr_scale = (('(autoencoder|text_encoder)/.*', 0.0), ('.*', 1.0))
  if tokenizers:
    c.tokenizer.files = tuple((f'weights/public/{at}', n) for at, n in tokenizers)
    c.tokenizer.length = sum(length for _, length in tokenizers)
