"""Many settings of sampling, measured one after another: a table and a plot.

`guidance=1,1.5,2 x steps=20,50 x ema=0.05,0.1` is every combination: of values of keys
of config.sample, and of the widths of averages that are made of stored ones.
"""
import ast
import itertools

import numpy as np

from evaluation import comparison, scores

EMA = 'ema'  # the one key that is none of config.sample


def parse(text: str, keys, split) -> dict:
  """{key: values} of --grid.

  Args:
    keys: of config.sample.
    split: 'a,b(c,d)' -> ['a', 'b(c,d)'].

  Raises ValueError for another form, or a key that is none.
  """
  found = {}
  for part in text.split(' x '):
    key, equals, values = part.strip().partition('=')
    if not equals or not values:
      raise ValueError(f'--grid has {part!r}; it is written "guidance=1,2 x steps=20".')
    if key not in (*keys, EMA):
      raise ValueError(f'--grid has {key!r}, not one of {sorted((*keys, EMA))}.')
    if key in found:
      raise ValueError(f'--grid has {key!r} twice.')
    found[key] = [value_of(value) for value in split(values)]
  return found


def value_of(text: str):
  """A number or a tuple where it is one; else the text itself."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def cells(grid: dict) -> list[dict]:
  """{key: value} of each combination, the last key fastest."""
  return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]


def axes_of(metrics: dict) -> list[tuple]:
  """(first score, whether more is better) of the first two metrics; [] of fewer."""
  axes = [(next(iter(m.units)), m.higher) for m in metrics.values()]
  return axes[:2] if len(axes) > 1 else []


def name_of(cell: dict) -> str:
  return ', '.join(f'{key}={value}' for key, value in cell.items())


def markdown(results: list, units: dict) -> str:
  """A row for each of [(cell, {name: Score})]."""
  keys, names = list(results[0][0]), list(results[0][1])
  lines = [' | '.join(['', *keys, *names, '']).strip(),
           '|' + '-|' * (len(keys) + len(names))]
  for cell, found in results:
    shown = [scores.shown(found[name].value, units[name]) for name in names]
    lines.append(' | '.join(['', *map(str, cell.values()), *shown, '']).strip())
  return '\n'.join(lines) + '\n'


def front(points, higher) -> list[int]:
  """Indices of the points that no other one beats in both numbers: Pareto's front.

  Args:
    points: f[n 2].
    higher: of each number, whether more is better.
  """
  signed = np.asarray(points) * np.where(higher, 1, -1)
  return [i for i, p in enumerate(signed) if not any(
      np.all(q >= p) and np.any(q > p) for q in signed)]


def plot(figure, results: list, axes: list[tuple]):
  """One score against another, a mark for each cell, and Pareto's front.

  Args:
    figure: an empty one of matplotlib.
    results: [(cell, {name: Score})].
    axes: of x and of y, (name, whether more is better).
  """
  (x, x_higher), (y, y_higher) = axes
  points = np.array([[found[x].value, found[y].value] for _, found in results])
  best = sorted(front(points, (x_higher, y_higher)), key=lambda i: points[i, 0])
  sheet = figure.subplots()
  figure.set_size_inches(8, 6)
  sheet.plot(*points[best].T, '-', color='#bbbbbb', zorder=1,
             label='no other is better in both')
  last = list(results[0][0])[-1]  # told apart by mark; the other keys by colour
  groups = [(str([v for k, v in cell.items() if k != last]), str(cell[last]))
            for cell, _ in results]
  for point, (cell, _), (colour, _, mark) in zip(
      points, results, comparison.looks(groups)):
    sheet.plot(*point, mark, color=colour, ms=7)
    left = point[0] > points[:, 0].mean()  # in the right half, to the left of its mark
    sheet.annotate(name_of(cell), point, xytext=(-6 if left else 6, 4), fontsize=8,
                   textcoords='offset points', color='#444444',
                   ha='right' if left else 'left')
  said = lambda higher: 'more' if higher else 'less'
  sheet.set(xlabel=f'{x} ({said(x_higher)} is better)',
            ylabel=f'{y} ({said(y_higher)} is better)')
  sheet.margins(0.15)
  sheet.grid(color='#eeeeee')
  sheet.spines[['top', 'right']].set_visible(False)
  sheet.legend(frameon=False)
