"""Tokens that are learned beside those of a tokenizer: textual inversion's."""
import functools

import numpy as np
from tokenizers import AddedToken, Tokenizer


def parts_of(tokenizer) -> list[Tokenizer]:
  """The tokenizers that a data.public.Public is made of, or this one."""
  parts = getattr(tokenizer, 'parts', [(tokenizer, None)])
  return [part for part, _ in parts]


def add(tokenizer, rows):
  """A tokenizer with more tokens, whose ids come last.

  rows: (name, anything, number of vectors) each. The further vectors of a token have
  names of their own, name_1 and on, and stand after it wherever it stands. Those that
  it has added already stay. Raises ValueError for a name that is a word of its own.
  """
  for part in parts_of(tokenizer):
    learned = {token.content for token in part.get_added_tokens_decoder().values()
               if not token.special}
    for name, _, vectors in rows:
      for each in names_of(name, vectors):
        if each not in learned and part.token_to_id(each) is not None:
          raise ValueError(f'config.tokenizer.added has {name!r}, which the tokenizer '
                           'knows already; give it another name, such as <name>.')
      part.add_tokens([AddedToken(each, lstrip=True, normalized=True)
                       for each in names_of(name, vectors)])
  return tokenizer


def starts(tokenizer, rows) -> np.ndarray:
  """The token as which each vector of added ones starts: int[vectors], -1 for none.

  rows: (name, words, number of vectors) each; the words' tokens take turns.
  """
  part, found = parts_of(tokenizer)[0], []
  for _, words, vectors in rows:
    ids = part.encode(words, add_special_tokens=False).ids or [-1]
    found += (ids * vectors)[:vectors]
  return np.array(found)


def names_of(name: str, vectors: int) -> list[str]:
  """The tokens that stand for one of so many vectors."""
  return [name] + [f'{name}_{i}' for i in range(1, vectors)]


@functools.lru_cache(16)
def spread(tokenizer: Tokenizer) -> dict[str, str]:
  """{a token of several vectors: all its tokens}."""
  added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
  found = {}
  for name in added:
    vectors = next(n for n in range(1, len(added) + 1) if f'{name}_{n}' not in added)
    if vectors > 1:
      found[name] = ' '.join(names_of(name, vectors))
  return found


def ids_of(tokenizer: Tokenizer, caption: str, **options) -> list[int]:
  """Ids of a caption, in which a token of several vectors stands for all of them."""
  for name, names in spread(tokenizer).items():
    caption = caption.replace(name, names)
  return tokenizer.encode(caption, **options).ids
