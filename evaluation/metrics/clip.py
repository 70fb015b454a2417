"""How well pictures fit their prompts, and how they please, by CLIP's embeddings."""
import functools
import os

import jax
import numpy as np
import safetensors

from evaluation import features as networks
from evaluation import scores
from evaluation.gathering import need_of

BATCH = 64  # prompts at a time
text_network = functools.cache(networks.clip_text)
HEAD = os.path.join('weights', 'public', 'aesthetic.safetensors')
NAMES = {'clip_l14': 'clip_score', 'pickscore': 'pickscore', 'hpsv2': 'hpsv2'}
HEAD_FROM = ('https://github.com/christophschuhmann/improved-aesthetic-predictor, '
             'sac+logos+ava1-l14-linearMSE.pth')


def clip_score(features: str = 'clip_l14', preprocessing: str = '') -> scores.Metric:
  """'clip_score': 100 times the mean cosine of picture and prompt, arXiv:2104.08718.

  As torchmetrics has it; the paper takes 2.5 in place of 100. With 'pickscore' and
  'hpsv2' it is PickScore, arXiv:2305.01569, and HPSv2.1, 2306.09341, and called so.
  """
  text_network(features)  # raises where its files are not there
  need = need_of('rows', features, 'embedding', preprocessing)
  name = NAMES.get(features, f'clip_score_{features}')
  def measure(run):
    rows = unit(run.generated[need])
    texts, cut = text_rows(features, run.prompts[:len(rows)])
    return {name: scores.mean(100 * (rows * texts).sum(1), run.about[need] + (
        f', {cut} prompts cut' if cut else ''))}
  return scores.Metric({name: ''}, measure, (need,), higher=True)


def unit(rows) -> np.ndarray:
  """f64[n d], each row of length 1."""
  rows = np.asarray(rows, np.float64)
  return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def text_rows(features: str, prompts) -> tuple[np.ndarray, int]:
  """(embeddings of prompts, f64[n d] of length 1, how many have no room in 77 tokens).

  Each text is encoded once.
  """
  network, texts = text_network(features), list(dict.fromkeys(prompts))
  apply, (tokens, cut) = jax.jit(network.apply), network.tokenize(texts)
  rows = []
  for i in range(0, len(texts), BATCH):
    some = tokens[np.minimum(np.arange(i, i + BATCH), len(texts) - 1)]  # filled up
    rows.append(np.asarray(apply(network.params, some))[:len(texts) - i])
  rows, place = unit(np.concatenate(rows)), {text: i for i, text in enumerate(texts)}
  index = [place[prompt] for prompt in prompts]
  return rows[index], int((cut[index] > 0).sum())


def aesthetic_score(preprocessing: str = '') -> scores.Metric:
  """'aesthetic_score': LAION's predictor, version 2, of CLIP L/14's embeddings.

  Five linear layers, from 1 to 10 or so: https://laion.ai/blog/laion-aesthetics.
  """
  if not os.path.exists(HEAD):
    raise FileNotFoundError(
        f'{HEAD} is missing: fetch {HEAD_FROM} (3.7 MB), and turn it into that with '
        f'python -m interop.convert FILE --out={HEAD}.')
  need = need_of('rows', 'clip_l14', 'embedding', preprocessing)
  weight, bias = read_head(HEAD)
  def measure(run):
    found = unit(run.generated[need]) @ weight + bias
    return {'aesthetic_score': scores.mean(found, run.about[need])}
  return scores.Metric({'aesthetic_score': ''}, measure, (need,), higher=True)


def read_head(path: str):
  """(f64[768], f64) of linear layers without activations between: their product."""
  try:
    with safetensors.safe_open(path, 'np') as file:
      layers = {name: np.float64(file.get_tensor(name)) for name in file.keys()}
  except safetensors.SafetensorError as e:
    raise ValueError(f'{path} is not a whole safetensors file: {e}') from e
  weight, bias = np.eye(768), np.zeros(768)
  for i in (0, 2, 4, 6, 7):  # those between are dropout
    name = f'layers.{i}'
    if f'{name}.weight' not in layers:
      raise ValueError(f'{path} has no {name}.weight; it has {sorted(layers)}.')
    weight = layers[f'{name}.weight'] @ weight
    bias = layers[f'{name}.weight'] @ bias + layers[f'{name}.bias']
  return weight[0], bias[0]
