"""LoRA of a run: an objective whose layers have adapters beside them.

The adapters are a part of the parameters, `lora`, beside the model's, which stay as
they are: frozen, without gradient, moments and average.
"""
import math

from models import lora
from training import rules
from training.objectives import Objective, Part


def scale_of(c) -> float:
  """What the product of two adapters is multiplied by, of a config's `lora`.

  alpha / rank; of rsLoRA alpha / sqrt(rank): arXiv:2312.03732 eq. 4.
  """
  return c.alpha / (math.sqrt(c.rank) if c.rslora else c.rank)


def adapted(objective: Objective, c, init) -> Objective:
  """An objective of the same loss, of a model with adapters.

  c: a config's `lora`. init: key -> the model's parameters, of which the layers are.
  """
  def use(params):
    return lora.inserted({name: part for name, part in params.items()
                          if name != 'lora'}, params['lora'])
  def loss(params, ema, batch, drawn):
    with lora.beside(scale_of(c), c.dropout):
      return objective.loss(use(params), use(ema), batch, drawn)
  def first(key, params):
    layers = lora.chosen(lora.layers_of(init), c.layers)
    return lora.init_adapters(key, params, layers, c.rank, c.dora)
  def fold(params, adapters):
    return lora.merged(params, adapters, scale_of(c))
  return objective._replace(loss=loss, parts=objective.parts | {
      'lora': Part(first, True, fold)})


def check(c, params, frozen):
  """Raises ValueError for layers with adapters that are trained, too.

  c: a config's `lora`. params, frozen: all parameters, a tree of bool like them.
  """
  if not c.layers:
    return
  kept = rules.by_name(frozen)
  for name in rules.by_name(params['lora']):
    layer = name.rpartition('/')[0]
    if layer.startswith('autoencoder/'):
      raise ValueError(f'config.lora.layers has {layer!r}: the autoencoder stays as it '
                       'is, or nothing would be left of it.')
    if not kept[f'{layer}/kernel']:
      raise ValueError(
          f'config.lora.layers has {layer!r}, which config.optim.lr_scale trains, too; '
          "freeze what is below: (('lora/.*', 1.0), ('.*', 0.0)).")
