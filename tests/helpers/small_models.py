"""Models of a few fields, without the rest of a config."""
from ml_collections import ConfigDict

import models


def built(model, condition=None, autoencoder=None, *, vocab=12, length=6, size=8,
          learned_weight=False):
  """models.build of these parts; the condition and the autoencoder may be none."""
  none = dict(name='none')
  return models.build(ConfigDict(dict(
      model=model, condition=condition or none, autoencoder=autoencoder or none,
      tokenizer=dict(vocab=vocab, length=length), data=dict(size=size, channels=3),
      diffusion=dict(learned_weight=learned_weight))))
