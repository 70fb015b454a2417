"""Prompts that nobody chose: words, signs, special tokens spelled out, scripts."""
import random

SEED, COUNT = 20261124, 500
PIECES = (
    'a', 'red', 'circle', 'blue square', "it's", "we'LL", 'RED', '12345', '!',
    '!!', '!a', 'end!', '...', '<|endoftext|>', '<|startoftext|>',
    '<|ENDOFTEXT|>', '</s>', '<pad>', '<unk>', '<extra_id_3>', '<cat-toy>',
    'cat-toy', 'Ünïcödé', 'é', '\u2014', '東京', '👩🏿\u200d🚀', '\ufb01', '\u2460',
    'İstanbul', 'ΣΑΣ', 'Straße', '\t', '\n', '  ', ' ', ',', '(x:1.2)',
    '&amp;', '"', "'", "''s", '_', 'a_b', '\u200b', '\xa0', '½', '%', 'cir',
    'ano')


def prompts(seed: int = SEED, count: int = COUNT) -> list[str]:
  """Some of the pieces, with a space between or none; the empty one first."""
  draw = random.Random(seed)
  return [''] + [''.join(draw.choice(PIECES) + draw.choice(('', ' ', ' '))
                         for _ in range(draw.randint(1, 7))) for _ in range(count - 1)]
