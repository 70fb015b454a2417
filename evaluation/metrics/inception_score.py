"""The inception score: sure of each picture, and of all classes over all pictures."""
from diffusion import specs
from evaluation import distances, scores
from evaluation.gathering import need_of


def inception_score(c, splits: int = 10, preprocessing: str = '') -> scores.Metric:
  """'inception_score', arXiv:1606.03498, the mean over `splits` parts of them."""
  specs.require(lambda x: x > 1, 'it must be above 1', splits=splits)
  if c.eval.num < splits:
    raise ValueError(f'splits is {splits}, more than config.eval.num, {c.eval.num}.')
  need = need_of('rows', 'inception', 'logits', preprocessing)
  def measure(run):
    rows = run.generated[need]
    return {'inception_score': scores.mean_of_parts(
        distances.inception_scores(rows, splits), len(rows),
        f'{splits} parts, {run.about[need]}')}
  return scores.Metric({'inception_score': ''}, measure, (need,), higher=True)
