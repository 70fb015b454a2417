"""SentencePiece's model files, as T5's spiece.model, without the package of that name.

The file is a protocol buffer (google/sentencepiece, sentencepiece_model.proto): pieces,
each with its text, score and kind, and how text is normalised before.
"""
import struct

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers
from tokenizers import pre_tokenizers, processors

PIECE, NORMALIZER = 1, 3          # fields of the model
TEXT, SCORE, KIND = 1, 2, 3       # of a piece
CHARACTERS = 2                    # of the normaliser: its compiled map
UNKNOWN, CONTROL, USER = 2, 3, 4  # kinds of pieces
EXTRA = 100                       # <extra_id_0> and on, which T5 adds


def fields(data: bytes):
  """(number, value) of each field of a message: int, or bytes, or a float's bytes."""
  at = 0
  def varint():
    nonlocal at
    value = shift = 0
    while True:
      byte = data[at]
      at += 1
      value |= (byte & 127) << shift
      shift += 7
      if byte < 128:
        return value
  while at < len(data):
    key = varint()
    number, wire = key >> 3, key & 7
    if wire == 0:
      yield number, varint()
      continue
    size = {1: 8, 5: 4}.get(wire)
    if size is None:
      if wire != 2:
        raise ValueError(f'wire type {wire}')
      size = varint()
    if at + size > len(data):
      raise ValueError('it is cut off')
    yield number, data[at:at + size]
    at += size


def read(path: str):
  """([(text, score, kind)], the compiled map of characters or b'') of a model file.

  Raises ValueError for another file, OSError for none.
  """
  with open(path, 'rb') as f:
    data = f.read()
  pieces, characters = [], b''
  try:
    for number, value in fields(data):
      if number == PIECE:
        of = dict(fields(value))
        score = struct.unpack('<f', of[SCORE])[0] if SCORE in of else 0.0
        pieces.append((of[TEXT].decode('utf-8'), score, of.get(KIND, 1)))
      elif number == NORMALIZER:
        characters = dict(fields(value)).get(CHARACTERS, b'')
    if not pieces:
      raise ValueError('it has no pieces')
  except (IndexError, KeyError, UnicodeDecodeError, TypeError, ValueError,
          struct.error) as e:
    raise ValueError(f'{path} is no SentencePiece model: {e}') from e
  return pieces, characters


def t5(path: str) -> Tokenizer:
  """T5's tokenizer of a spiece.model: a unigram model, and </s> after the caption."""
  pieces, characters = read(path)
  unknown = next((i for i, (_, _, kind) in enumerate(pieces) if kind == UNKNOWN), None)
  ends = [i for i, (text, *_) in enumerate(pieces) if text == '</s>']
  if unknown is None or not ends:
    raise ValueError(f'{path} is no model of T5: it has no unknown piece or no </s>.')
  extra = [f'<extra_id_{i}>' for i in reversed(range(EXTRA))]
  scores = [(text, score) for text, score, _ in pieces]
  scores += [(name, 0.0) for name in extra if name not in dict(scores)]
  tokenizer = Tokenizer(models.Unigram(scores, unknown))
  steps = [normalizers.Precompiled(characters)] if characters else []
  tokenizer.normalizer = normalizers.Sequence([
      *steps, normalizers.Strip(left=False, right=True),
      normalizers.Replace(Regex(' {2,}'), '▁')])
  tokenizer.pre_tokenizer = pre_tokenizers.Metaspace('▁', prepend_scheme='always')
  tokenizer.post_processor = processors.TemplateProcessing(
      single='$A </s>', special_tokens=[('</s>', ends[0])])
  special = [text for text, _, kind in pieces if kind in (UNKNOWN, CONTROL)]
  tokenizer.add_special_tokens([
      AddedToken(text, normalized=False, special=True) for text in special + extra])
  return tokenizer
