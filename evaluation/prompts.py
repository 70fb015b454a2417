"""Which prompt each of the shared pictures has: config.eval.prompts and its order."""
import jax
import numpy as np

from data import sources, tokenizers
from models.conditions import CONDITIONS
from training import hosts

ORDERS = {  # (number of pictures, of prompts, seed) -> the prompt of each, int[num]
    'balanced': lambda num, count, seed: np.arange(num) % count,
    'random': lambda num, count, seed: np.array(
        [np.random.default_rng((seed, i)).integers(count) for i in range(num)])}


def check(c):
  """Raises ValueError for what of config.eval asks for prompts that there are not."""
  if c.eval.order not in ORDERS:
    raise ValueError(f'config.eval.order is {c.eval.order!r}, not one of '
                     f'{sorted(ORDERS)}.')
  if c.eval.prompts == 'classes' and not by_class(c):
    raise ValueError("config.eval.prompts is 'classes', but config.condition.name "
                     f'{c.condition.name!r} has none; give captions or a file.')


def by_class(c) -> bool:
  return getattr(CONDITIONS[c.condition.name], 'by_class', False)


def class_names(tokenizer) -> list[str]:
  """Names of the classes, in the order of their ids."""
  ids = tokenizer.get_vocab()
  return sorted(ids.keys() - set(tokenizers.SPECIAL), key=ids.get)


def pool(c, tokenizer) -> list[str]:
  """The prompts that pictures are given.

  captions: all those of the true pictures, in their order. classes: a name each. Else
  the lines of a UTF-8 file. Raises ValueError or OSError where there are none.
  """
  if c.eval.prompts == 'classes':
    return class_names(tokenizer)
  if c.eval.prompts == 'captions':
    found, where = list(true_pictures(c).captions()), 'config.data'
  else:
    found, where = read(c.eval.prompts), f'config.eval.prompts={c.eval.prompts}'
  if not found:
    raise ValueError(f'{where} has no prompt for the pictures to be measured.')
  return found


def read(path: str) -> list[str]:
  """The lines of a UTF-8 file that are not empty."""
  with open(path, encoding='utf-8-sig') as f:
    try:
      return [line.strip() for line in f if line.strip()]
    except UnicodeDecodeError as e:
      raise ValueError(f'{path} is not UTF-8 text: {e}') from e


def of_pictures(c, tokenizer, seed: int) -> list[str]:
  """The prompt of each of config.eval.num pictures.

  balanced: the prompts in turn, so that each comes as often as any other, up to one.
  random: each drawn by the seed and the picture's number alone.
  """
  prompts = pool(c, tokenizer)
  return [prompts[i] for i in ORDERS[c.eval.order](c.eval.num, len(prompts), seed)]


def true_pictures(c):
  """The pictures of config.data, of the split config.eval.split where it has any.

  One process prepares them for all.
  """
  data = c.data.copy_and_resolve_references()
  if sources.has_splits(data):
    data.split = c.eval.split
  if jax.process_index() == 0:
    sources.prepare(data)
  hosts.wait_for_all('true pictures')
  return sources.Pictures(data)
