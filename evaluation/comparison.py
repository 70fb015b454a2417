"""Variants compared over paired seeds: statistics, a table and a plot.

`curves` are {variant: {seed: {step: value}}}, in the order in which they are shown. The
same seed of two variants shares what is random, so their difference has less spread
than either; the interval is Student's of the mean of these differences.
"""
import csv
import io
from typing import NamedTuple

import numpy as np
from scipy import stats

from evaluation.scores import shown

COLOURS = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', 'black',
           '#999933', '#882255', '#777777', '#44aa99', '#aa4499')
LINES = (('-', 'o'), ('--', 's'), (':', '^'), ('-.', 'D'))  # dashes, mark


class Row(NamedTuple):
  """Values at the end: mean and deviation over seeds, difference to the first variant.

  None stands for what so few seeds do not say. half: of a 95% interval.
  """
  name: str
  seeds: int
  mean: float | None
  deviation: float | None
  pairs: int
  difference: float | None
  half: float | None


def spread(values) -> tuple[float | None, float | None, float | None]:
  """(mean, standard deviation, half of the 95% interval of the mean) of f[n]."""
  n = len(values)
  if n < 2:
    return (float(values[0]) if n else None), None, None
  deviation = float(np.std(values, ddof=1))
  half = float(stats.t.ppf(0.975, n - 1)) * deviation / n**0.5
  return float(np.mean(values)), deviation, half


def last(curve: dict) -> float:
  return curve[max(curve)]


def compare(curves: dict) -> list[Row]:
  """A Row a variant."""
  ends = {name: {seed: last(curve) for seed, curve in by_seed.items()}
          for name, by_seed in curves.items()}
  first, rows = next(iter(ends), None), []
  for name, end in ends.items():
    mean, deviation, _ = spread(list(end.values()))
    pairs = [] if name == first else [
        value - ends[first][seed] for seed, value in end.items() if seed in ends[first]]
    difference, _, half = spread(pairs)
    rows.append(Row(name, len(end), mean, deviation, len(pairs), difference, half))
  return rows


def markdown(rows: list[Row], metric: str, unit: str) -> str:
  """The table for people. unit: '%' for shares."""
  lines = [f'| | {metric} | standard deviation | seeds | difference to the first,'
           ' 95% interval |', '|-|-|-|-|-|']
  for r in rows:
    apart = shown(r.difference, unit, '+')
    if r.half is not None:
      low, high = r.difference - r.half, r.difference + r.half
      apart += f' ({shown(low, unit, "+")} to {shown(high, unit, "+")})'
    elif r.pairs == 1:
      apart += ' (one seed)'
    lines.append(f'| {r.name} | {shown(r.mean, unit)} | {shown(r.deviation, unit)} '
                 f'| {r.seeds} | {apart} |')
  return '\n'.join(lines) + '\n'


def as_csv(rows: list[Row], metric: str) -> str:
  """The table for programs: all digits."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(['variant', 'metric', *Row._fields[1:]])
  for r in rows:
    writer.writerow([r.name, metric, *r[1:]])
  return text.getvalue()


def looks(groups: list[tuple[str, str]]) -> list[tuple[str, str, str]]:
  """(colour, dashes, mark) of variants.

  Args:
    groups: of each variant, what its colour and what its dashes tell apart.
  """
  if len(dict(groups[::-1])) == 1 or len({b for _, b in groups}) > len(LINES):
    groups = [(group, '') for group in groups]  # colours alone
  first, second = (list(dict.fromkeys(g[i] for g in groups)) for i in (0, 1))
  return [(COLOURS[first.index(a) % len(COLOURS)], *LINES[second.index(b) % len(LINES)])
          for a, b in groups]


def plot(figure, curves: dict, groups: list, metric: str, unit: str, title: str):
  """Metric against step, mean and range over seeds; beside it the ends, seed by seed.

  Args:
    figure: an empty one of matplotlib.
    groups: see `looks`.
  """
  factor = 100 if unit == '%' else 1
  figure.set_size_inches(10, max(3.6, 1.2 + 0.3 * len(curves)))
  left, right = figure.subplots(1, 2, width_ratios=(3, 2))
  for i, (by_seed, look) in enumerate(zip(curves.values(), looks(groups))):
    colour, dashes, mark = look
    if not by_seed:
      continue
    steps = sorted(set.intersection(*(set(curve) for curve in by_seed.values())))
    values = factor * np.array([[c[s] for s in steps] for c in by_seed.values()])
    left.plot(steps, values.mean(0), dashes, marker=mark, ms=4, color=colour)
    left.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.12,
                      linewidth=0)
    ends = factor * np.array([last(curve) for curve in by_seed.values()])
    right.plot([ends.min(), ends.max()], [i, i], dashes, color=colour, lw=1)
    right.plot(ends, [i] * len(ends), '.', color=colour, ms=5, alpha=0.6)
    right.plot(ends.mean(), i, mark, color=colour, ms=8)
  label = metric + (', %' if factor == 100 else '')
  left.set(xlabel='step', ylabel=label, title=f'{title}: mean and range of seeds')
  right.set(xlabel=label, title='the last step: mean, and each seed',
            ylim=(len(curves) - 0.5, -0.5))
  right.set_yticks(range(len(curves)), list(curves))
  right.yaxis.tick_right()
  right.tick_params('y', length=0)
  for axes in (left, right):
    axes.grid(color='#eeeeee')
    axes.spines[['top', 'right']].set_visible(False)
