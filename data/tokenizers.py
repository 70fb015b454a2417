"""Captions to token ids: BPE trained on the captions, classes by name, or public ones.

In byte-level BPE all 256 bytes are tokens, so every Unicode string has an encoding,
without unknowns. Of classes, a whole caption is one token, and there are no others.
Public tokenizers are those of frozen text encoders, as CLIP's and T5's.
"""
import json
import os

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

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


class Public:
  """Public tokenizers, each with its own part of the ids, one after the other.

  parts: [(Tokenizer, ids that it fills)]. What it adds before and after a caption is
    there whatever is cut; what is left is filled with PAD.
  """

  def __init__(self, parts):
    self.parts = [(without_padding(tokenizer), length) for tokenizer, length in parts]

  def ids(self, caption: str) -> tuple[np.ndarray, int]:
    """(int32[all lengths], how many tokens no part has room for)."""
    row, cut = [], []
    for tokenizer, length in self.parts:
      ids = tokenizer.encode(caption).ids
      cut.append(max(0, len(ids) - length))
      row += ids[:length - 1] + ids[-1:] if cut[-1] else ids
      row += [PAD] * (length - len(ids))
    return np.array(row, np.int32), min(cut)

  def get_vocab_size(self) -> int:
    return max(tokenizer.get_vocab_size() for tokenizer, _ in self.parts)

  def to_str(self) -> str:
    return json.dumps([[json.loads(t.to_str()), length] for t, length in self.parts])


def public(files) -> Public:
  """The tokenizers of (place, length) pairs.

  A place is a tokenizer.json, a folder with one, or a folder with CLIP's vocab.json and
  merges.txt.
  """
  def opened(place):
    path = os.path.join(place, 'tokenizer.json') if os.path.isdir(place) else place
    clips = [os.path.join(place, name) for name in ('vocab.json', 'merges.txt')]
    if not os.path.exists(path) and all(map(os.path.exists, clips)):
      return clip(*clips)
    return load(path)
  return Public([(opened(place), length) for place, length in files])


def clip(vocab: str, merges: str) -> Tokenizer:
  """CLIP's: lower case, spaces counted as one, words split before they are merged."""
  first, last = '<|startoftext|>', '<|endoftext|>'
  tokenizer = Tokenizer(models.BPE.from_file(
      vocab, merges, end_of_word_suffix='</w>', unk_token=last))
  tokenizer.normalizer = normalizers.Sequence([
      normalizers.NFC(), normalizers.Replace(Regex(r'\s+'), ' '),
      normalizers.Lowercase()])
  words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
      pre_tokenizers.Split(words, 'removed', invert=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
  tokenizer.post_processor = processors.TemplateProcessing(
      single=f'{first} $A {last}',
      special_tokens=[(name, tokenizer.token_to_id(name)) for name in (first, last)])
  return tokenizer


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
    text = data.decode('utf-8')
    if isinstance(found := json.loads(text), list):
      return Public([(Tokenizer.from_str(json.dumps(part)), length)
                     for part, length in found])
    return without_padding(Tokenizer.from_str(text))
  except Exception as e:
    raise ValueError(f'{path} is not a tokenizer: {e}') from e


def size(tokenizer, caption: str) -> int:
  """How many tokens a caption has, with what is put before and after it."""
  if isinstance(tokenizer, Public):
    return max(len(part.encode(caption).ids) for part, _ in tokenizer.parts)
  return 1 + len(tokenizer.encode(caption, add_special_tokens=False).ids)


def encode(tokenizer, caption: str, length: int) -> tuple[np.ndarray, int]:
  """(ids int32[length], how many tokens were cut).

  Raises ValueError for a caption that is none of the classes, where they are all.
  """
  if isinstance(tokenizer, Public):
    return tokenizer.ids(caption)
  try:
    ids = [START] + tokenizer.encode(caption, add_special_tokens=False).ids
  except Exception as e:  # of the library, which has no class of its own for it
    raise ValueError(f'{caption!r} is not one of the classes, such as '
                     f'{min(set(tokenizer.get_vocab()) - set(SPECIAL))!r}.') from e
  row = ids[:length] + [PAD] * (length - len(ids))
  return np.array(row, np.int32), max(0, len(ids) - length)
