"""Captions to token ids: BPE trained on the captions, classes by name, or public ones.

In byte-level BPE all 256 bytes are tokens, so every Unicode string has an encoding,
without unknowns. Of classes, a whole caption is one token, and there are no others.
Public tokenizers, those of frozen text encoders, are data.public's.
"""
import json

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from data.added_tokens import add, ids_of, starts
from data.public import Public, from_json, public

__all__ = ['Public', 'add', 'classes', 'encode', 'from_str', 'load', 'public', 'size',
           'starts', 'train']
PAD, START = 0, 1  # ids; START opens every caption, alone it is the empty caption
SPECIAL = ['<pad>', '<start>']


def train(captions, vocab: int) -> Tokenizer:
  """Trains on an iterable of str. The result has at most `vocab` tokens."""
  tokenizer = Tokenizer(models.BPE())
  tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
  tokenizer.decoder = decoders.ByteLevel()
  tokenizer.train_from_iterator(captions, trainers.BpeTrainer(
      vocab_size=vocab, special_tokens=SPECIAL, show_progress=False,
      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
  # In a caption '<pad>' is text like any other, never the special token.
  tokenizer.encode_special_tokens = True
  return tokenizer


def classes(captions, most: int) -> Tokenizer:
  """A token for each different caption, in alphabetical order, from id 2 on.

  Raises ValueError for more than `most` of them.
  """
  names = sorted(set(captions))
  if len(names) > most:
    raise ValueError(f'the pictures have {len(names)} different captions, such as '
                     f'{names[0]!r}; config.condition.classes is {most}.')
  ids = {name: i for i, name in enumerate(SPECIAL + names)}
  return Tokenizer(models.WordLevel(ids))


def without_padding(tokenizer: Tokenizer) -> Tokenizer:
  """A tokenizer that fills and cuts nothing, and takes '<pad>' in a caption as text."""
  tokenizer.no_padding()
  tokenizer.no_truncation()
  tokenizer.encode_special_tokens = True
  return tokenizer


def load(path: str) -> Tokenizer | Public:
  """Raises FileNotFoundError or, for a file that is no tokenizer, ValueError."""
  with open(path, 'rb') as f:
    data = f.read()
  try:
    return from_str(data.decode('utf-8'))
  except Exception as e:
    raise ValueError(f'{path} is not a tokenizer: {e}') from e


def from_str(text: str) -> Tokenizer | Public:
  """What `to_str` of either gave."""
  found = json.loads(text)
  if isinstance(found, list) or 'parts' in found:
    return from_json(found)
  return without_padding(Tokenizer.from_str(text))


def size(tokenizer, caption: str) -> int:
  """How many tokens a caption has, with what is put before and after it."""
  if isinstance(tokenizer, Public):
    return tokenizer.size(caption)
  return 1 + len(ids_of(tokenizer, caption, add_special_tokens=False))


def encode(tokenizer, caption: str | None, length: int) -> tuple[np.ndarray, int]:
  """(ids int32[length], how many tokens were cut); None is no caption at all.

  Raises ValueError for a caption that is none of the classes, where they are all.
  """
  if isinstance(tokenizer, Public):
    return tokenizer.ids(caption)
  caption = caption or ''
  try:
    ids = [START] + ids_of(tokenizer, caption, add_special_tokens=False)
  except Exception as e:  # of the library, which has no class of its own for it
    raise ValueError(f'{caption!r} is not one of the classes, such as '
                     f'{min(set(tokenizer.get_vocab()) - set(SPECIAL))!r}.') from e
  row = ids[:length] + [PAD] * (length - len(ids))
  return np.array(row, np.int32), max(0, len(ids) - length)
