"""Nothing is unknown, and what is cut is counted."""
import json
import pathlib

import pytest

from data import tokenizers

STRINGS = ['a red circle', 'Ünïcödé', '东京 – ночь', '👩🏿‍🚀 astronaut',
           '\x00\t\n', 'a' * 400, '<pad><start>', '   ', '\ud7ff\ue000\U0010ffff']


@pytest.fixture(scope='module')
def bpe():
  return tokenizers.train(['a red circle left of a blue square'] * 3, 400)


@pytest.mark.parametrize('text', STRINGS)
def test_every_string_is_encoded_without_loss(bpe, text):
  row, cut = tokenizers.encode(bpe, text, 2000)
  ids = [i for i in row.tolist() if i != tokenizers.PAD]
  assert cut == 0 and ids[0] == tokenizers.START
  assert tokenizers.PAD not in ids[1:] and tokenizers.START not in ids[1:]
  assert bpe.decode(ids[1:]).removeprefix(' ') == text.removeprefix(' ')


def test_words_of_the_captions_become_single_tokens(bpe):
  row, _ = tokenizers.encode(bpe, 'a red circle', 8)
  assert (row != tokenizers.PAD).sum() == 1 + 3


def test_says_how_many_tokens_were_cut(bpe):
  whole, cut = tokenizers.encode(bpe, 'a red circle left of a blue square', 9)
  assert cut == 0
  row, cut = tokenizers.encode(bpe, 'a red circle left of a blue square', 5)
  assert cut == 4 and row.tolist() == whole[:5].tolist()


def test_the_empty_caption_is_the_start_alone(bpe):
  row, cut = tokenizers.encode(bpe, '', 4)
  assert row.tolist() == [tokenizers.START, 0, 0, 0] and cut == 0


def test_classes_are_single_tokens_and_nothing_else_is():
  names = tokenizers.classes(['green ring', 'a cat', 'green ring'], 2)
  names = tokenizers.Tokenizer.from_str(names.to_str())
  rows = [tokenizers.encode(names, name, 2)[0].tolist() for name in
          ('a cat', 'green ring', '')]
  assert rows == [[1, 2], [1, 3], [1, 0]]
  with pytest.raises(ValueError, match="'ring' is not one of the classes"):
    tokenizers.encode(names, 'ring', 2)
  with pytest.raises(ValueError, match='2 different captions.*condition.classes is 1'):
    tokenizers.classes(['a', 'b'], 1)


CLIP = pathlib.Path(__file__).parent.parent / 'fixtures' / 'clip'


@pytest.fixture(scope='module')
def two():
  """CLIP's vocabulary twice, as of an encoder of 8 tokens beside one of 40."""
  return tokenizers.public(((str(CLIP), 8), (str(CLIP), 40)))


def test_clip_splits_captions_as_transformers_does(two):
  """tests/fixtures/make_tokens.py made the ids."""
  clip = two.parts[0][0]
  for caption, ids in json.loads((CLIP / 'tokens.json').read_text()):
    assert clip.encode(caption).ids == ids, caption


def test_public_tokenizers_stand_side_by_side_and_keep_their_ends(two, tmp_path):
  ids = two.parts[0][0].encode('anan cir cir 12345').ids
  assert len(ids) == 2 + 3 + 2 * 2 + 5  # an a n, ci r, digits one by one
  assert tokenizers.size(two, 'anan cir cir 12345') == 14
  row, cut = tokenizers.encode(two, 'anan cir cir 12345', 48)
  assert row.tolist() == ids[:7] + ids[-1:] + ids + [0] * 26 and cut == 0
  assert tokenizers.encode(two, '12345' * 10, 48)[1] == 52 - 40
  path = tmp_path / 'tokenizer.json'
  path.write_text(two.to_str())
  again = tokenizers.load(str(path))
  assert (tokenizers.encode(again, 'anan cir cir 12345', 48)[0] == row).all()
  path.write_text(json.dumps(json.loads(two.to_str())[0][0]))  # as on the hub
  alone = tokenizers.public(((str(path), 8), (str(tmp_path), 40)))
  assert (tokenizers.encode(alone, 'anan cir cir 12345', 48)[0] == row).all()


def test_a_caption_cannot_end_itself(two):
  ids = two.parts[0][0].encode('<|endoftext|>').ids
  assert len(ids) > 3 and ids.count(ids[-1]) == 1


def test_saved_and_loaded_it_is_the_same(bpe, tmp_path):
  path = tmp_path / 'tokenizer.json'
  path.write_text(bpe.to_str(), encoding='utf-8')
  loaded = tokenizers.load(str(path))
  for text in STRINGS:
    assert (tokenizers.encode(loaded, text, 99)[0]
            == tokenizers.encode(bpe, text, 99)[0]).all()
  path.write_text('{"cut": ')
  with pytest.raises(ValueError, match='not a tokenizer'):
    tokenizers.load(str(path))
