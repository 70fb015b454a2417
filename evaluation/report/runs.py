"""The sections of a report of runs, side by side where there are several."""
import json
import os
from typing import NamedTuple

import numpy as np

from configs import base
from console.progress import clock
from evaluation import loss_weights
from evaluation.report import charts, data, markup, reading
from evaluation.report.markup import Safe, joined, shown, table, tag
from training import workdir as workdirs

SHEETS = 24              # of samples, at most, evenly over the steps
SHEET_BYTES = 1_200_000  # of all samples on a page
FILM_BYTES = 1_000_000   # of all films
BINS = 96                # of log-SNR


class Section(NamedTuple):
  """Attributes:
    id, title: of the heading.
    body: HTML; empty leaves the section out.
    charts: of `charts`, which the body has places for: `places`.
    sheets: [{'name', 'steps', 'pictures'}], of the slider, likewise.
  """
  id: str
  title: str
  body: Safe
  charts: list = []
  sheets: list = []


def sections(runs) -> list[Section]:
  """All sections; a new one is a function here."""
  notes = []
  found = [make(runs, notes) for make in (
      summary, samples, films, training, scores, data.captions, data.problems,
      counted_errors, sampling, config, machines)]
  return [*(Section(*one) for one in found),
          noted([f'{run.name}: {note}' for run in runs for note in run.notes] + notes)]


def places(id: str, found: list) -> Safe:
  """Where the script draws the charts of a section."""
  return tag('div', *[tag('figure', class_='chart', data_chart=f'{id}/{i}')
                      for i in range(len(found))], class_='charts') if found else Safe()


def noted(notes) -> Section:
  return Section('notes', 'Not on this page', tag(
      'ul', *[tag('li', note) for note in notes]) if notes else Safe())


def last(run, name: str):
  """The last value that was logged under a name, or None."""
  return next((line[name] for line in reversed(run.lines) if name in line), None)


def summary(runs, notes):
  """What there is to know at a glance, a row a run."""
  del notes
  rows, names = [], charts.logged(runs)
  score = next((name for name in names if f'{name}_low' in names), None)
  for run in runs:
    c, rates = run.config, [line['images_per_s'] for line in run.lines
                            if 'images_per_s' in line]
    seconds, loss = last(run, 'seconds'), last(run, 'loss')
    row = {
        'step': f'{last(run, "step") or 0:,.0f} of {c.train.steps:,}',
        'training time': '' if seconds is None else clock(seconds),
        'loss': '' if loss is None else f'{loss:.4g}',
        'pictures a second': f'{np.median(rates):,.0f}' if rates else '',
        'model': f'{c.model.name}, {c.condition.name}',
        'pictures of': f'{c.data.source}, {c.data.size} pixels'}
    if score and last(run, score) is not None:
      row[score] = shown(float(last(run, score)))
    rows.append(row)
  tiles = [tag('div', tag('h3', run.name) if len(runs) > 1 else '', tag('dl', *[
      tag('div', tag('dt', name), tag('dd', value)) for name, value in row.items()
      if value]), class_='tiles') for run, row in zip(runs, rows)]
  return 'summary', 'Summary', joined(tiles)


def samples(runs, notes):
  """Grids of samples/, with a slider over the steps."""
  sheets, many = [], sum(bool(run.samples) for run in runs)
  for run in runs:
    steps = list(run.samples)
    if len(steps) > SHEETS:
      chosen = np.linspace(0, len(steps) - 1, SHEETS).round().astype(int)
      notes.append(f'{run.name}: {SHEETS} of {len(steps)} grids of samples.')
      steps = [steps[i] for i in chosen]
    sheet = {'name': run.name, 'steps': [], 'pictures': []}
    for step in steps:
      try:
        sheet['pictures'].append(markup.data_url(
            run.samples[step], SHEET_BYTES // len(steps) // many))
        sheet['steps'].append(step)
      except (ValueError, OSError) as e:
        notes.append(f'{run.name}: {e}')
    sheets.append(sheet)
  sheets = [sheet for sheet in sheets if sheet['steps']]
  body = tag('div', class_='slider', data_sheets='samples') if sheets else Safe()
  return 'samples', 'Samples', body, [], sheets


def films(runs, notes):
  """The GIFs of a workdir."""
  found, left = [], FILM_BYTES
  for run in runs:
    for path in run.films:
      size, name = os.path.getsize(path), os.path.basename(path)
      if size > left:
        notes.append(f'{run.name}: {name}, {size:,} bytes, which are too many.')
        continue
      try:
        found.append(tag('figure', tag(
            'img', src=markup.data_url(path, left), alt=name, class_='pixels'), tag(
                'figcaption', f'{run.name}: {name}' if len(runs) > 1 else name)))
        left -= size
      except (ValueError, OSError) as e:
        notes.append(f'{run.name}: {e}')
  return 'films', 'Films', tag('div', *found, class_='films') if found else Safe()


def training(runs, notes):
  del notes
  found = charts.training(runs)
  return 'training', 'Training', places('training', found), found


def scores(runs, notes):
  """Scores along the way, and those of evaluate.py."""
  found = charts.scores(runs)
  evaluations = [(f'{run.name}: {name}' if len(runs) > 1 else name, about)
                 for run in runs for name, about in run.evaluations]
  body = [places('scores', found)]
  if evaluations:
    body += [tag('h3', 'evaluate.py'), scores_table(evaluations)]
  body += [grids(os.path.join(run.folder, 'evaluations'), notes) for run in runs]
  return 'scores', 'Scores', joined(body), found


def scores_table(evaluations) -> Safe:
  """Scores of evaluate.py with their intervals, drawn on one scale for each score."""
  rows = []
  names = dict.fromkeys(k for _, about in evaluations for k in about['scores'])
  for name in names:
    some = [(place, about, about['scores'][name]) for place, about in evaluations
            if name in about['scores']]
    ends = [score[k] for *_, score in some for k in ('low', 'value', 'high')
            if reading.is_number(score.get(k))]
    for place, about, score in some:
      low, high = (score.get(k) if reading.is_number(score.get(k)) else None
                   for k in ('low', 'high'))
      said = about.get('sample') if isinstance(about.get('sample'), dict) else {}
      how = ', '.join(f'{k} {said[k]}' for k in ('solver', 'steps', 'guidance')
                      if k in said)
      rows.append((
          name, shown(float(score['value'])), '' if low is None or high is None else
          f'{shown(float(low))} to {shown(float(high))}',
          whisker(score['value'], low, high, min(ends), max(ends)),
          score.get('n', ''), how, tag('span', place, class_='faint')))
  return table(('score', 'value', '95% interval', '', 'pictures', 'drawn with', 'file'),
               rows)


def whisker(value, low, high, least, most) -> Safe:
  """A dot and its interval between the least and the greatest of a score."""
  x = lambda v: 6 + 148 * ((v - least) / (most - least) if most > least else 0.5)
  line = '' if low is None or high is None else tag(
      'line', x1=f'{x(low):.1f}', x2=f'{x(high):.1f}', y1=8, y2=8)
  return tag('svg', line, tag('circle', cx=f'{x(value):.1f}', cy=8, r=4),
             width=160, height=16, class_='whisker')


def grids(folder: str, notes) -> Safe:
  """The tables and plots of evaluate.py --grid that a folder has."""
  found = []
  for name in sorted(os.listdir(folder) if os.path.isdir(folder) else ()):
    path = os.path.join(folder, name)
    try:
      if name.startswith('grid-') and name.endswith('.md'):
        with open(path, encoding='utf-8') as f:
          found.append(tag('pre', f.read(1 << 16)))
      elif name.startswith('grid-') and name.endswith('.png'):
        found.append(tag('img', src=markup.data_url(path, 200_000), alt=name))
    except (ValueError, OSError) as e:
      notes.append(str(e))
  return joined(found)


def counted_errors(runs, notes):
  """What the loss sees of each log-SNR: evaluation/loss_weights.py."""
  note = 'by log-SNR: noise on the left, the picture on the right'
  found = [({'title': title, 'note': note, 'log': log, 'series': []}, index)
           for title, index, log in (
               ('What counts: share of draws x weight of x0', 4, True),
               ('Share of the draws per unit of log-SNR', 1, False))]
  for r, run in enumerate(runs):
    d = run.config.diffusion
    try:
      values = loss_weights.weights_by_log_snr(d, BINS)
    except ValueError as e:
      notes.append(f'{run.name}: no loss weights: {e}')
      continue
    label = f'{d.schedule}, target {d.target}, weight {d.loss_weight}'
    for chart, index in found:
      at = np.isfinite(values[index]) & (np.asarray(values[index]) > 0)
      chart['series'].append({
          'label': f'{run.name}: {label}' if len(runs) > 1 else label, 'colour': r,
          'dash': 0, 'x': [charts.rounded(float(x)) for x in values[0][at]],
          'y': [charts.rounded(float(y)) for y in np.asarray(values[index])[at]]})
  found = [chart for chart, _ in found if chart['series']]
  return 'loss-weights', 'What the loss counts', places('loss-weights', found), found


def columns_of(runs, rows) -> Safe:
  """A table of (key, base's value, [value of each run]), marked where they differ."""
  def look(value, usual, values):
    words = ['changed'] * (value != usual) + ['differs'] * (len(set(values)) > 1)
    return ' '.join(words) or None
  return table(('', 'configs/base.py', *(run.name for run in runs)), [
      (tag('code', key), tag('code', usual, class_='faint'), *[
          tag('code', value, class_=look(value, usual, values)) for value in values])
      for key, usual, values in rows])


def leaf(config: dict, key: str) -> str:
  """A value of a config as JSON has it, in a line; '' where it has none."""
  for name in key.split('.'):
    if not isinstance(config, dict) or name not in config:
      return ''
    config = config[name]
  return json.dumps(config, ensure_ascii=False)


def config(runs, notes):
  """In what configs differ from configs/base.py, and from each other."""
  del notes
  usual = workdirs.json_of_config(base.get_config())
  given = [workdirs.json_of_config(run.config) for run in runs]
  keys = sorted({key for one in given for key in workdirs.differences(usual, one)})
  rows = [(key, leaf(usual, key), [leaf(one, key) for one in given]) for key in keys]
  whole = [tag('details', tag('summary', f'config.json of {run.name}'),
               tag('pre', json.dumps(one, indent=2, ensure_ascii=False)))
           for run, one in zip(runs, given)]
  return 'config', 'Config', joined([
      tag('p', 'Where it is not that of configs/base.py.'), columns_of(runs, rows),
      *whole])


def sampling(runs, notes):
  """Solver, timesteps and guidance, whether they are those of the base or not."""
  del notes
  usual = base.get_config().sample
  rows = [(key, leaf(workdirs.json_of_config(usual), key), [
      leaf(workdirs.json_of_config(run.config.sample), key) for run in runs])
      for key in usual if key != 'prompts']
  return 'sampling', 'Solver and guidance', columns_of(runs, rows)


def machines(runs, notes):
  """Where each start of each run was, and with what versions."""
  del notes
  rows = []
  for run in runs:
    for start in run.starts:
      packages = start.get('packages')
      rows.append((run.name, *[shown(start.get(k, '')) for k in (
          'step', 'time', 'devices', 'processes', 'processor', 'cores', 'memory_gib',
          'system', 'python')], ', '.join(f'{k} {v}' for k, v in packages.items())
          if isinstance(packages, dict) else '', tag('code', start.get('command', ''))))
  return 'machine', 'Machine and versions', table((
      'run', 'from step', 'time', 'devices', 'processes', 'processor', 'cores',
      'memory, GiB', 'system', 'python', 'packages', 'command'), rows) if rows else (
          Safe())
