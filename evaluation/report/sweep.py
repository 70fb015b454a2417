"""The report of a sweep: its diffs compared over paired seeds, and its runs."""
import json
import os

import numpy as np

from evaluation import comparison
from evaluation.report import charts, markup, reading, runs
from evaluation.report.markup import Safe, joined, table, tag


def parts(place: str):
  """(title, sections, data of the script) of a sweep's folder."""
  about = reading.an_object(os.path.join(place, 'diffs.json'))
  try:
    metric, diffs = str(about['metric']), about['diffs']
    keys = {str(diff['name']): dict(diff['keys']) for diff in diffs}
    plan = [(str(run['folder']), int(run['seed']), list(map(str, run['diffs'])))
            for run in about['runs']]
  except (KeyError, TypeError, ValueError) as e:
    raise ValueError(f'{place}/diffs.json is no record of a sweep: {e!r}') from e
  notes, found = [], []
  for folder, seed, names in plan:
    path = os.path.join(place, os.path.basename(folder))  # never outside of it
    try:
      found.append((reading.read_run(path), seed, names))
    except (ValueError, OSError):
      notes.append(f'{folder} is not begun.')
  curves = curves_of(found, keys, metric, notes)
  title = reading.name_of(place)
  chart = metric_chart(curves, metric)
  shown = [chart] * bool(chart['series']) + charts.training(
      [run for run, *_ in found])[:1]
  data = {'runs': [{'name': run.name, 'columns': charts.columns(run.lines)}
                   for run, *_ in found]}
  return title, [
      runs.Section('compared', f'{metric}, at the last step',
                   compared(curves, metric)),
      runs.Section('curves', 'Along the way', runs.places('curves', shown), shown),
      runs.Section('diffs', 'Diffs', diffs_table(keys)),
      runs.Section('runs', 'Runs', runs_table(found)),
      *(runs.Section(*make([run for run, *_ in found[:1]], notes)) for make in (
          runs.config, runs.machines) if found), runs.noted(notes)], data


def curves_of(found, keys, metric: str, notes) -> dict:
  """{diff: {seed: {step: value}}} of what there is so far."""
  curves = {name: {} for name in keys}
  for run, seed, names in found:
    scored = stored_scores(run, notes) if len(names) > 1 else None
    for name in names:
      steps = scored if scored is not None else {
          line['step']: {name: line} for line in run.lines}
      curve = {int(step): values[name][metric] for step, values in steps.items()
               if reading.is_number(values.get(name, {}).get(metric))}
      if curve and name in curves:
        curves[name][seed] = curve
  return curves


def stored_scores(run, notes) -> dict:
  """{step: {diff: {metric: value}}} of scores/STEP.json, for diffs that share a run."""
  found, folder = {}, os.path.join(run.folder, 'scores')
  for name in sorted(os.listdir(folder) if os.path.isdir(folder) else ()):
    step = name.removesuffix('.json')
    if step.isdecimal():
      try:
        values = reading.an_object(os.path.join(folder, name))
        found[int(step)] = {k: v for k, v in values.items() if isinstance(v, dict)}
      except (ValueError, OSError) as e:
        notes.append(f'{run.name}/scores/{name}: {e}')
  return found


def compared(curves: dict, metric: str) -> Safe:
  """A row a diff: mean, deviation, and the paired difference to the first."""
  ends = [value for by_seed in curves.values() for value in map(
      comparison.last, by_seed.values())]
  rows = []
  for row in comparison.compare(curves):
    text = lambda v, sign='': '' if v is None else f'{v:{sign}.4g}'
    apart = text(row.difference, '+')
    if row.half is not None:
      apart += (f' ({text(row.difference - row.half, "+")} to '
                f'{text(row.difference + row.half, "+")})')
    values = [comparison.last(curve) for curve in curves[row.name].values()]
    line = runs.whisker(row.mean, min(values), max(values), min(ends), max(ends)) if (
        values) else ''
    rows.append((row.name, text(row.mean), line, text(row.deviation), row.seeds, apart))
  return table(('', metric, 'range of seeds', 'standard deviation', 'seeds',
                'difference to the first, 95% interval'), rows)


def metric_chart(curves: dict, metric: str) -> dict:
  """The metric against the step: mean and range over seeds."""
  series = []
  for i, (name, by_seed) in enumerate(curves.items()):
    if by_seed:
      steps = sorted(set.intersection(*(set(curve) for curve in by_seed.values())))
      values = np.array([[curve[step] for step in steps]
                         for curve in by_seed.values()], float)
      series.append({'label': name, 'colour': i, 'dash': 0, 'x': steps, **{
          k: [charts.rounded(float(v)) for v in row] for k, row in (
              ('y', values.mean(0)), ('low', values.min(0)), ('high', values.max(0)))}})
  return {'title': metric, 'note': 'mean and range of seeds', 'log': False,
          'series': series}


def diffs_table(keys: dict) -> Safe:
  """What each diff sets."""
  return table(('diff', 'sets'), [
      (name, joined([tag('div', tag('code', f'config.{key} = {json.dumps(value)}'))
                     for key, value in some.items()])) for name, some in keys.items()])


def runs_table(found) -> Safe:
  """How far each run is."""
  def step(run):
    done = next((line['step'] for line in reversed(run.lines)), 0)
    return f'{done:,.0f} of {run.config.train.steps:,}'
  return table(('run', 'seed', 'diffs', 'step', 'loss'), [
      (run.name, seed, ', '.join(names), step(run), next(
          (markup.shown(float(line['loss'])) for line in reversed(run.lines)
           if 'loss' in line), '')) for run, seed, names in found])
