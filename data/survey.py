"""A look at some records of a source: what is usable, and what is wrong with others."""
import base64
import concurrent.futures
import io

import numpy as np
from PIL import Image

from data import captions, images, tokenizers
from data.problems import Bad

RECORDS = 32  # that `survey` looks at
SIDE = 96     # pixels, the longest of a thumbnail
TEXT = 1_000  # characters of a caption that are kept


def look(pictures, i: int) -> dict:
  """What there is to know of record i; 'bad' where it is not to be used."""
  c, (source, k) = pictures.c, pictures.place(i)
  try:
    record = source[k]
    picture = images.opened(record['image'])
    texts = captions.usable(record['captions'], c)
    h, w, *_ = images.decode(record['image'], pictures.size, most=c.max_pixels,
                             least=c.min_side).sizes
    return {'record': i, 'format': picture.format, 'mode': picture.mode, 'texts': texts,
            'size': (int(w), int(h))}
  except Bad as e:
    return {'record': i, 'bad': e}


def detail(bad: Bad) -> str:
  """What a Bad says beyond its reason."""
  return str(bad).removeprefix(bad.reason).lstrip(': ')


def survey(pictures, tokenizer, length: int, num: int = RECORDS) -> dict:
  """JSON for a run's data.json: `num` records, evenly spread over the source.

  Each has its first caption, how many tokens that has, and a thumbnail of what
  training sees, a PNG in base64; a bad one its place and what is wrong with it.

  length: tokens of a caption, longer ones are cut.
  """
  n = len(pictures)
  chosen = np.unique(np.linspace(0, n - 1, min(n, num)).astype(int)).tolist()
  with concurrent.futures.ThreadPoolExecutor(pictures.c.threads) as pool:
    found = list(pool.map(lambda i: look(pictures, i), chosen))
  good = [{'caption': x['texts'][0][:TEXT],
           'tokens': tokenizers.size(tokenizer, x['texts'][0]),
           'size': x['size'], 'picture': thumbnail(pictures[x['record']]['image'])}
          for x in found if 'bad' not in x]
  bad = [{'reason': x['bad'].reason, 'where': pictures.where(x['record']),
          'detail': detail(x['bad'])[:TEXT]} for x in found if 'bad' in x]
  return {'pictures': n, 'looked_at': len(found), 'length': length,
          'left_out': dict(pictures.problems()), 'good': good, 'bad': bad}


def thumbnail(image) -> str:
  """uint8 [h w c] -> a PNG of at most SIDE pixels a side, in base64."""
  small, data = images.pillow(image), io.BytesIO()
  small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
  small.save(data, 'PNG')
  return base64.b64encode(data.getvalue()).decode()
