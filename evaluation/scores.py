"""Metrics and scores: numbers with an interval, and how they are shown."""
import math
from collections.abc import Callable
from typing import NamedTuple


class Metric(NamedTuple):
  """Attributes:
    units: {name of a score: its unit, '%' or another}: what it measures.
    measure: (model, seed, progress) -> {name: Score}. model: inference.Model, whose
      config.sample and config.eval count. progress: None, or a function that makes one
      of (total, unit), as console.Progress.
  """
  units: dict
  measure: Callable


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


def shown(value: float | None, unit: str, sign: str = '') -> str:
  """A number as it is printed: in percent where that is its unit; '' for None."""
  if value is None:
    return ''
  return f'{100 * value:{sign}.1f}%' if unit == '%' else f'{value:{sign}.4g}'


def scalars(scores: dict) -> dict:
  """{name: value}: scores as they are logged."""
  return {name: score.value for name, score in scores.items()}


def table(scores: dict, units: dict) -> str:
  """A line a score. units: of each name, '%' or another."""
  wide = max(map(len, scores)) + 2
  lines = [f'{"":<{wide}}{"score":>9}{"95% interval":>18}{"pictures":>10}']
  for name, score in scores.items():
    unit, ends = units[name], ''
    if score.low is not None:
      ends = f'{shown(score.low, unit)} to {shown(score.high, unit)}'
    lines.append(f'{name:<{wide}}{shown(score.value, unit):>9}{ends:>18}{score.n:>10}'
                 + f'  {score.source}' * bool(score.source))
  return '\n'.join(lines)
