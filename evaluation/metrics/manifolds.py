"""Shares of pictures that lie among those of the other set, by nearest neighbours."""
from diffusion import specs
from evaluation import neighbours, scores
from evaluation.gathering import need_of


def precision_recall(c, k: int = 3, features: str = 'inception',
                     preprocessing: str = '') -> scores.Metric:
  """'precision' and 'recall', arXiv:1904.06991, with the k-th nearest neighbour."""
  return manifold(c, ('precision', 'recall'), neighbours.precision_recall, k, features,
                  preprocessing)


def density_coverage(c, k: int = 5, features: str = 'inception',
                     preprocessing: str = '') -> scores.Metric:
  """'density' and 'coverage', arXiv:2002.09797, with the k-th nearest neighbour."""
  return manifold(c, ('density', 'coverage'), neighbours.density_coverage, k, features,
                  preprocessing)


def manifold(c, names, compare, k: int, features: str, preprocessing: str):
  """A Metric of two numbers, each a mean: of f[generated] and of f[true]."""
  specs.above_zero(k=k)
  if c.eval.num <= k:
    raise ValueError(f'k is {k}; config.eval.num, {c.eval.num}, must be more.')
  need = need_of('rows', features, '', preprocessing)
  if features != 'inception':
    names = tuple(f'{name}_{features}' for name in names)
  def measure(run):
    both = compare(run.generated[need], run.true[need], k)
    return {name: score_of(values, f'k = {k}, {run.about[need]}')
            for name, values in zip(names, both)}
  return scores.Metric(dict.fromkeys(names, '%'), measure, (need,), (need,), True)


def score_of(values, source: str) -> scores.Score:
  """The mean of b[n], a share, or of f[n]; the manifolds are taken as given."""
  if values.dtype == bool:
    return scores.share(int(values.sum()), len(values), source)
  return scores.mean(values, source)
