"""Nothing is unknown, and what is cut is counted."""
import gzip
import json
import pathlib
import shutil

import numpy as np
import pytest

from data import tokenizers
from helpers import odd_prompts

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
  path.write_text(json.dumps(json.loads(two.to_str())['parts'][0][0]))  # as on the hub
  alone = tokenizers.public(((str(path), 8), (str(tmp_path), 40)))
  assert (tokenizers.encode(alone, 'anan cir cir 12345', 48)[0] == row).all()


ODD = np.load(CLIP / 'odd.npz')


@pytest.mark.parametrize('name', ['sd15', 'sd2', 'inverted', 'saved', 't5'])
def test_odd_prompts_have_the_ids_of_transformers(name, tmp_path):
  """In all forms that public tokenizers come in; tests/fixtures/make_tokens.py."""
  if name == 't5':
    packed = (CLIP.parent / 'spiece.model.gz').read_bytes()
    (tmp_path / 'spiece.model').write_bytes(gzip.decompress(packed))
  elif name == 'saved':
    shutil.copytree(CLIP / 'saved', tmp_path, dirs_exist_ok=True)
  else:
    for file in ('vocab.json', 'merges.txt'):
      shutil.copy(CLIP / file, tmp_path)
    for file, fields in json.loads((CLIP / 'folders.json').read_text())[name].items():
      (tmp_path / file).write_text(json.dumps(fields))
  made = tokenizers.public(((str(tmp_path), 77),))
  prompts = odd_prompts.prompts()
  ends = np.cumsum(ODD[f'{name}/counts'])
  wanted = np.split(ODD[f'{name}/ids'], ends[:-1])
  print('seed', odd_prompts.SEED)
  for prompt, ids in zip(prompts, wanted, strict=True):
    assert made.parts[0][0].encode(prompt).ids == ids.tolist(), prompt


def test_no_caption_may_be_another_than_the_empty_one(tmp_path):
  files = ((str(CLIP), 8), (str(CLIP), 8))
  plain, apart = tokenizers.public(files), tokenizers.public(files, absent=True)
  empty = tokenizers.encode(plain, '', 16)[0]
  assert (tokenizers.encode(plain, None, 16)[0] == empty).all()
  (tmp_path / 'tokenizer.json').write_text(apart.to_str())
  for made in (apart, tokenizers.load(str(tmp_path / 'tokenizer.json'))):
    assert (tokenizers.encode(made, None, 16)[0] == 0).all()
    assert (tokenizers.encode(made, '', 16)[0] == empty).all()


def test_captions_may_be_lower_cased_and_stripped(two):
  lower = tokenizers.public(((str(CLIP), 40),), lower=True)
  tokenizer = two.parts[1][0]
  assert lower.text(' A RED\n') == 'a red'
  assert lower.size(' A RED ') == len(tokenizer.encode('a red').ids)


@pytest.mark.parametrize('data', [b'', b'\x0a', b'not a model', b'\x0a\xff\x01a'])
def test_what_is_no_sentencepiece_is_refused(data, tmp_path):
  (tmp_path / 'spiece.model').write_bytes(data)
  with pytest.raises(ValueError, match='spiece.model is no SentencePiece model'):
    tokenizers.public(((str(tmp_path), 9),))


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
