"""Fréchet distances of features of generated and of true pictures."""
from diffusion import specs
from evaluation import distances
from evaluation.gathering import need_of
from evaluation.scores import Metric, Score


def fid(preprocessing: str = '') -> Metric:
  """'fid': the Fréchet Inception distance, arXiv:1706.08500, of its pool."""
  return frechet('fid', need_of('moments', 'inception', 'pool', preprocessing))


def sfid(preprocessing: str = '') -> Metric:
  """'sfid': of Inception's 2,023 spatial features, arXiv:2103.03841 sec. 5."""
  return frechet('sfid', need_of('moments', 'inception', 'spatial', preprocessing))


def fd(features: str = 'dinov2_l', output: str = '', preprocessing: str = '') -> Metric:
  """'fd_FEATURES': of any network; that of DINOv2 is FD-DINOv2, arXiv:2306.04675."""
  return frechet(f'fd_{features}', need_of('moments', features, output, preprocessing))


def frechet(name: str, need) -> Metric:
  """The Metric of a Fréchet distance, which has no interval."""
  def measure(run):
    a, b = run.generated[need], run.true[need]
    return {name: Score(distances.frechet(a, b), None, None, a.n, run.about[need])}
  return Metric({name: ''}, measure, (need,), (need,))


def fid_infinity(c, points: int = 15, smallest: int = 5000, features: str = 'inception',
                 preprocessing: str = '') -> Metric:
  """'fid_infinity': FID of as many pictures as there could be, arXiv:1911.07023.

  The line through `points` distances, of `smallest` pictures to all.
  """
  specs.require(lambda x: x > 1, 'it must be above 1', points=points,
                smallest=smallest)
  if c.eval.num < 2 * smallest:
    raise ValueError(f'smallest is {smallest}; config.eval.num, {c.eval.num}, must be '
                     'twice that for a line to be seen.')
  rows = need_of('rows', features, '', preprocessing)
  true = rows._replace(kind='moments')
  name = 'fid_infinity' if features == 'inception' else f'fd_infinity_{features}'
  def measure(run):
    some = run.generated[rows]
    value = distances.frechet_infinity(some, run.true[true], points, smallest, run.seed)
    return {name: Score(value, None, None, len(some),
                        f'{points} points from {smallest:,}; {run.about[true]}')}
  return Metric({name: ''}, measure, (rows,), (true,))
