"""Metrics and scores: numbers with an interval, and how they are shown."""
from collections.abc import Callable
import math
from typing import Any, NamedTuple

from scipy import stats


class Need(NamedTuple):
  """What is gathered of each picture of a set: evaluation.gathering.

  Attributes:
    kind: 'moments' or 'rows', of the output of a feature network.
    network: of evaluation.features.FEATURES.
    output: one of the network's.
    preprocessing: of the network; '' for its own.
  """
  kind: str
  network: str
  output: str
  preprocessing: str = ''


class Run(NamedTuple):
  """What a metric is measured on.

  Attributes:
    model: inference.Model, whose config.sample and config.eval count.
    seed: of the noise and of what is chosen at random.
    generate: (model, prompts, seed, progress) -> uint8 [m h w 3], a picture of each
      prompt, each of noise of its own; for metrics with prompts of their own.
    progress: None, or a function that makes one of (total, unit), as console.Progress.
    prompts: of the shared pictures, in their order.
    generated: {Need: what was gathered of the shared pictures}.
    true: {Need: what was gathered of true ones}.
    about: {Need: preprocessing and statistics, in words}.
  """
  model: Any
  seed: int
  generate: Callable
  progress: Callable | None = None
  prompts: tuple = ()
  generated: dict = {}
  true: dict = {}
  about: dict = {}


class Metric(NamedTuple):
  """Attributes:
    units: {name of a score: its unit, '%' or another}: what it measures.
    measure: Run -> {name: Score}.
    needs: Needs of pictures that the model draws once for all metrics.
    true: Needs of true pictures, of which statistics are made or read.
    higher: whether more is better, as of accuracy, not of a distance.
  """
  units: dict
  measure: Callable
  needs: tuple = ()
  true: tuple = ()
  higher: bool = False


class Score(NamedTuple):
  """A measured number.

  Attributes:
    low, high: ends of its 95% interval; None where there is none.
    n: how many pictures it is of.
    source: how it was estimated, in a few words.
  """
  value: float
  low: float | None
  high: float | None
  n: int
  source: str = ''


def share(right: int, n: int, source: str = '', z: float = 1.96) -> Score:
  """A share of `right` in `n` with Wilson's 95% interval, doi:10.2307/2276774."""
  if not n:
    raise ValueError('a share needs at least one picture.')
  p, middle = right / n, 1 + z * z / n
  half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
  return Score(p, (p + z * z / (2 * n) - half) / middle,
               (p + z * z / (2 * n) + half) / middle, n, source)


def mean(values, source: str = '', z: float = 1.96) -> Score:
  """The mean of f[n] with a 95% interval by its standard error."""
  n, value = len(values), float(values.mean())
  half = z * float(values.std()) / math.sqrt(n)
  return Score(value, value - half, value + half, n, source)


def mean_of_parts(values, n: int, source: str = '') -> Score:
  """The mean of the same estimate on parts that share no picture, f[k], k > 1.

  Its 95% interval is Student's. n: pictures in all parts.
  """
  value = float(values.mean())
  half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1)
               / math.sqrt(len(values)))
  return Score(value, value - half, value + half, n, source)


def shown(value: float | None, unit: str, sign: str = '') -> str:
  """A number as it is printed: in percent where that is its unit; '' for None."""
  if value is None:
    return ''
  return f'{100 * value:{sign}.1f}%' if unit == '%' else f'{value:{sign}.4g}'


def scalars(scores: dict) -> dict:
  """{name: value}: scores as they are logged."""
  return {name: score.value for name, score in scores.items()}


def interval_ends(scores: dict) -> dict:
  """{name_low, name_high: value} of those that have an interval, as they are logged."""
  return {f'{name}_{end}': getattr(score, end) for name, score in scores.items()
          for end in ('low', 'high') if score.low is not None}


def table(scores: dict, units: dict) -> str:
  """A line a score. units: of each name, '%' or another."""
  wide = max(map(len, scores)) + 2
  lines = [f'{"":<{wide}}{"score":>10}{"95% interval":>24}{"pictures":>10}']
  for name, score in scores.items():
    unit, ends = units[name], ''
    if score.low is not None:
      ends = f'{shown(score.low, unit)} to {shown(score.high, unit)}'
    lines.append(f'{name:<{wide}}{shown(score.value, unit):>10}{ends:>24}{score.n:>10}'
                 + f'  {score.source}' * bool(score.source))
  return '\n'.join(lines)
