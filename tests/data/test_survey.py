"""What a run keeps of its data: captions, tokens, thumbnails, what is wrong."""
import base64
import io

import numpy as np
from PIL import Image

from data import sources, survey, tokenizers
from helpers import made


def test_a_survey_counts_and_shows(tmp_path):
  root = made.folder(tmp_path / 'in', 7)
  broken = next(root.rglob('00003.png'))
  broken.write_bytes(b'not a picture')
  c = made.config(tmp_path, source='folder', path=str(root))
  sources.prepare(c)
  pictures = sources.Pictures(c)
  tokenizer = tokenizers.train(pictures.captions(), 300)
  found = survey.survey(pictures, tokenizer, 8)
  assert (found['pictures'], found['looked_at'], found['length']) == (7, 7, 8)
  (bad,) = found['bad']
  assert bad['reason'] == 'not a picture' and bad['where'].endswith('00003.png')
  captions = [made.caption(i) for i in range(7) if i != 3]
  assert sorted(x['caption'] for x in found['good']) == captions
  for x in found['good']:
    assert x['tokens'] == tokenizers.size(tokenizer, x['caption'])
    image = Image.open(io.BytesIO(base64.b64decode(x['picture'])))
    assert made.caption(made.number(np.asarray(image))) == x['caption']
    assert x['size'] == (24, 16)
  assert survey.survey(pictures, tokenizer, 8, num=2)['looked_at'] == 2
