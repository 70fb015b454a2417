"""Kernel distances of features: KID and CMMD."""
import math

import numpy as np

from diffusion import specs
from evaluation import distances
from evaluation.gathering import need_of
from evaluation.scores import Metric, Score


def kid(c, subsets: int = 100, size: int = 1000, features: str = 'inception',
        preprocessing: str = '') -> Metric:
  """'kid': the kernel Inception distance without bias, arXiv:1801.01401.

  The mean over `subsets` random parts of `size` pictures. Its interval follows from
  their spread where there are at least twice as many pictures as a part has.
  """
  specs.require(lambda x: x > 1, 'it must be above 1', subsets=subsets, size=size)
  if c.eval.num < size:
    raise ValueError(f'size is {size}, more than config.eval.num, {c.eval.num}.')
  need = need_of('rows', features, '', preprocessing)
  name = 'kid' if features == 'inception' else f'kid_{features}'
  def measure(run):
    x, y = run.generated[need], run.true[need]
    if len(y) < size:
      raise ValueError(f'kid takes parts of {size} pictures, but there are {len(y)} '
                       f"true ones: 'kid(size={len(y)})'.")
    values = distances.kernel_distances(x, y, subsets, size)
    return {name: kid_score(values, size, min(len(x), len(y)), len(x),
                            f'{subsets} x {size:,}, {run.about[need]}')}
  return Metric({name: ''}, measure, (need,), (need,))


def kid_score(values, size: int, smaller: int, n: int, source: str) -> Score:
  """The mean of the distances of parts of `size` pictures, f64[subsets].

  smaller: pictures of the smaller set. Parts overlap: that of values is as of parts of
  size (1 - size / smaller) of independent pictures.
  """
  value, std = float(values.mean()), float(values.std())
  source = f'{source}, spread of parts {std:.2g}'
  if smaller < 2 * size:
    return Score(value, None, None, n, source)
  half = 1.96 * std * math.sqrt(size / (smaller - size))
  return Score(value, value - half, value + half, n, source)


def cmmd(features: str = 'clip_l14_336', preprocessing: str = 'cmmd') -> Metric:
  """'cmmd': 1,000 times the squared MMD of CLIP's embeddings, arXiv:2401.09603."""
  need = need_of('rows', features, '', preprocessing)
  name = 'cmmd' if features == 'clip_l14_336' else f'cmmd_{features}'
  def measure(run):
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True)
            for rows in (run.generated[need], run.true[need]))
    return {name: Score(distances.clip_mmd(x, y), None, None, len(x), run.about[need])}
  return Metric({name: ''}, measure, (need,), (need,))
