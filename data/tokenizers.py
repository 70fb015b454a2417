"""Captions to token ids: byte-level BPE trained on the captions, or classes by name.

All 256 bytes are tokens, so every Unicode string has an encoding, without unknowns. Of
classes, a whole caption is one token, and there are no others.
"""
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

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

  Raises:
    ValueError: more than `most` of them.
  """
  names = sorted(set(captions))
  if len(names) > most:
    raise ValueError(f'the pictures have {len(names)} different captions, such as '
                     f'{names[0]!r}; config.condition.classes is {most}.')
  ids = {name: i for i, name in enumerate(SPECIAL + names)}
  return Tokenizer(models.WordLevel(ids))


def load(path: str) -> Tokenizer:
  """Raises FileNotFoundError or, for a file that is no tokenizer, ValueError."""
  with open(path, encoding='utf-8') as f:
    text = f.read()
  try:
    tokenizer = Tokenizer.from_str(text)
  except Exception as e:
    raise ValueError(f'{path} is not a tokenizer: {e}') from e
  tokenizer.encode_special_tokens = True
  return tokenizer


def encode(tokenizer: Tokenizer, caption: str, length: int) -> tuple[np.ndarray, int]:
  """Returns (ids int32[length], how many tokens were cut).

  Raises:
    ValueError: a caption that is none of the classes, where there are only those.
  """
  try:
    ids = [START] + tokenizer.encode(caption, add_special_tokens=False).ids
  except Exception as e:  # of the library, which has no class of its own for it
    raise ValueError(f'{caption!r} is not one of the classes, such as '
                     f'{min(set(tokenizer.get_vocab()) - set(SPECIAL))!r}.') from e
  row = np.full(length, PAD, np.int32)
  row[:min(len(ids), length)] = ids[:length]
  return row, max(0, len(ids) - length)
