"""Public tokenizers, those of frozen text encoders: CLIP's and T5's, from their files.

Ids are those of transformers: what a folder's JSON files say of special and added
tokens holds, also where a caption spells one out.
"""
import json
import os

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors

from data import sentencepiece
from data.added_tokens import ids_of

PAD = 0


class Public:
  """Public tokenizers, each with its own part of the ids, one after the other.

  What each adds before and after a caption is there whatever is cut; what is left is
  filled with PAD.

  Attributes:
    parts: [(Tokenizer, ids that it fills)].
    lower: captions are lower-cased and stripped first.
    absent: no caption at all (None) is a row of PAD; if not, it is the empty one.
  """

  def __init__(self, parts, lower: bool = False, absent: bool = False):
    self.parts, self.lower, self.absent = list(parts), lower, absent
    for tokenizer, _ in self.parts:
      tokenizer.no_padding()
      tokenizer.no_truncation()

  def ids(self, caption: str | None) -> tuple[np.ndarray, int]:
    """(int32[all lengths], how many tokens no part has room for)."""
    row, cut = [], []
    if caption is None and self.absent:
      return np.full(sum(length for _, length in self.parts), PAD, np.int32), 0
    for tokenizer, length in self.parts:
      ids = ids_of(tokenizer, self.text(caption))
      cut.append(max(0, len(ids) - length))
      row += ids[:length - 1] + ids[-1:] if cut[-1] else ids
      row += [PAD] * (length - len(ids))
    return np.array(row, np.int32), min(cut)

  def text(self, caption: str | None) -> str:
    """What is read of a caption."""
    return (caption or '').lower().strip() if self.lower else caption or ''

  def size(self, caption: str) -> int:
    """How many tokens a caption has, with what is put before and after it."""
    return max(len(ids_of(part, self.text(caption))) for part, _ in self.parts)

  def get_vocab_size(self) -> int:
    return max(tokenizer.get_vocab_size() for tokenizer, _ in self.parts)

  def to_str(self) -> str:
    parts = [[json.loads(t.to_str()), length] for t, length in self.parts]
    return json.dumps(dict(parts=parts, lower=self.lower, absent=self.absent))


def from_json(found) -> Public:
  """What `to_str` wrote; an older one is the list of parts alone."""
  found = found if isinstance(found, dict) else {'parts': found}
  parts = [(Tokenizer.from_str(json.dumps(part)), length)
           for part, length in found['parts']]
  return Public(parts, found.get('lower', False), found.get('absent', False))


def public(files, lower: bool = False, absent: bool = False) -> Public:
  """The tokenizers of (place, length) pairs; lower, absent: of Public.

  A place is a tokenizer.json, or a folder with one, with CLIP's vocab.json and
  merges.txt, or with T5's spiece.model. Raises ValueError or OSError for none.
  """
  return Public([(opened(place), length) for place, length in files], lower, absent)


def opened(place: str) -> Tokenizer:
  """The tokenizer of a place."""
  if not os.path.isdir(place):
    return from_file(place)
  vocab, merges, pieces, whole = (os.path.join(place, name) for name in (
      'vocab.json', 'merges.txt', 'spiece.model', 'tokenizer.json'))
  if os.path.exists(whole):
    tokenizer = from_file(whole)
  elif os.path.exists(vocab) and os.path.exists(merges):
    tokenizer = clip(vocab, merges)
  elif os.path.exists(pieces):
    tokenizer = sentencepiece.t5(pieces)
  else:
    raise FileNotFoundError(f'{place} has no tokenizer.json, no vocab.json with '
                            'merges.txt, and no spiece.model.')
  with_added(tokenizer, place)
  return tokenizer


def from_file(path: str) -> Tokenizer:
  with open(path, 'rb') as f:
    data = f.read()
  try:
    return Tokenizer.from_str(data.decode('utf-8'))
  except Exception as e:  # of the library, which has no class of its own for it
    raise ValueError(f'{path} is not a tokenizer: {e}') from e


def clip(vocab: str, merges: str) -> Tokenizer:
  """CLIP's: lower case, spaces counted as one, words split before they are merged."""
  first, last = '<|startoftext|>', '<|endoftext|>'
  tokenizer = Tokenizer(models.BPE.from_file(
      vocab, merges, end_of_word_suffix='</w>', unk_token=last))
  tokenizer.normalizer = normalizers.Sequence([
      normalizers.NFC(), normalizers.Replace(Regex(r'\s+'), ' '),
      normalizers.Lowercase()])
  words = Regex(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+"
                r"|[\p{N}]|[^\s\p{L}\p{N}]+")
  tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
      pre_tokenizers.Split(words, 'removed', invert=True),
      pre_tokenizers.ByteLevel(add_prefix_space=False)])
  tokenizer.decoder = decoders.ByteLevel()
  ids = [(name, tokenizer.token_to_id(name)) for name in (last, first)]
  tokenizer.post_processor = processors.RobertaProcessing(
      *ids, trim_offsets=False, add_prefix_space=False)
  tokenizer.add_special_tokens([
      AddedToken(name, normalized=False, special=True) for name in (first, last)])
  return tokenizer


def fields_of(place: str, name: str) -> dict:
  """A JSON file of a folder; {} where there is none."""
  path = os.path.join(place, name)
  if not os.path.exists(path):
    return {}
  try:
    with open(path, encoding='utf-8') as f:
      found = json.load(f)
  except ValueError as e:
    raise ValueError(f'{path} is not JSON: {e}') from e
  if not isinstance(found, dict):
    raise ValueError(f'{path} has no fields.')
  return found


def with_added(tokenizer: Tokenizer, place: str):
  """Adds the tokens that the other files of a folder name, by their ids."""
  config = fields_of(place, 'tokenizer_config.json')
  added = {int(i): dict(token) for i, token in config.get(
      'added_tokens_decoder', {}).items()}
  for name, i in fields_of(place, 'added_tokens.json').items():
    added.setdefault(i, {'content': name, 'normalized': True, 'special': False})
  for _, token in sorted(added.items()):
    tokenizer.add_tokens([as_token(token)])
  named = config | (fields_of(place, 'special_tokens_map.json') if not added else {})
  whole = os.path.exists(os.path.join(place, 'tokenizer.json'))
  there = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
  special = {}  # the last one of the same text counts
  for key in ('bos_token', 'eos_token', 'unk_token', 'pad_token'):
    token = named.get(key)
    if token and not (whole and isinstance(token, str) and token in there):
      special[token['content'] if isinstance(token, dict) else token] = token
  for token in special.values():
    tokenizer.add_special_tokens([as_token(token)])


def as_token(token) -> AddedToken:
  """A token as a file has it: its text, or its fields."""
  if isinstance(token, str):
    return AddedToken(token, normalized=False, special=True)
  flags = {key: bool(token.get(key, False)) for key in (
      'single_word', 'lstrip', 'rstrip', 'normalized', 'special')}
  return AddedToken(token['content'], **flags)
