"""One self-contained page: HTML with its style, its script and all that they show."""
import os
import time

from console.files import write_text
from evaluation.report import charts, markup, reading, runs, sweep
from evaluation.report.markup import Safe, joined, tag

HERE = os.path.dirname(os.path.abspath(__file__))
POLICY = ("default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
          "script-src 'unsafe-inline'")  # no network, whatever the page holds


def write(*places: str, path: str | None = None) -> str:
  """Writes the report of runs, or of one sweep or evaluation; returns its path.

  Args:
    places: workdirs, or one sweep's, or one evaluation's folder or file.
    path: NAME.html; None for report.html within the only place.

  Raises:
    ValueError, OSError: a place that is none of these, or cannot be read.
  """
  kinds = {reading.kind_of(place) for place in places}
  if len(kinds) > 1 or len(places) > 1 and kinds != {'run'}:
    raise ValueError('side by side go runs alone, not sweeps or evaluations.')
  if path is None and len(places) > 1:
    raise ValueError('the report of several runs needs a name.')
  if path is None:
    folder = places[0] if os.path.isdir(places[0]) else os.path.dirname(places[0])
    path = os.path.join(folder, 'report.html')
  make = {'run': of_runs, 'sweep': sweep.parts, 'evaluation': of_evaluation}
  write_text(path, page(*make[kinds.pop()](*places)))
  return path


def of_runs(*places: str):
  """(title, sections, data of the script) of runs."""
  found = [reading.read_run(place) for place in places]
  return (' and '.join(run.name for run in found), runs.sections(found),
          {'runs': [{'name': run.name, 'columns': charts.columns(run.lines)}
                    for run in found]})


def of_evaluation(place: str):
  """The same of files of evaluate.py."""
  notes = []
  found = reading.evaluations(place, notes)
  if not found:
    raise ValueError(f'{place}: no scores of evaluate.py. ' + ' '.join(notes))
  return (reading.name_of(place), [
      runs.Section('evaluations', 'Evaluations', runs.scores_table(found)),
      runs.Section('pictures', 'Grids', runs.grids(
          place if os.path.isdir(place) else os.path.dirname(place), notes)),
      runs.noted(notes)], {'runs': []})


def page(title: str, sections, data: dict) -> str:
  """The whole page. sections: of runs.Section; those that are empty are left out."""
  sections = [section for section in sections if section.body]
  data = data | {
      'charts': {f'{section.id}/{i}': chart for section in sections
                 for i, chart in enumerate(section.charts)},
      'sheets': {section.id: section.sheets for section in sections if section.sheets}}
  links = [tag('a', section.title, href=f'#{section.id}') for section in sections]
  body = [tag('section', tag('h2', section.title), section.body, id=section.id)
          for section in sections]
  made = time.strftime('%Y-%m-%d %H:%M')
  head = joined([
      Safe('<meta charset="utf-8">'),
      tag('meta', http_equiv='Content-Security-Policy', content=POLICY),
      Safe('<meta name="viewport" content="width=device-width, initial-scale=1">'),
      tag('title', title), Safe(f'<style>{asset("page.css")}</style>')])
  controls = tag('div', Safe(asset('controls.html')), class_='controls')
  main = tag('main', tag('header', tag('h1', title), tag('p', f'written {made}')),
             *body)
  return '<!doctype html>\n' + tag('html', tag('head', head), tag(
      'body', tag('nav', *links, controls), main, markup.embedded('data', data),
      Safe(f'<script>{asset("page.js")}</script>')), lang='en') + '\n'


def asset(name: str) -> str:
  with open(os.path.join(HERE, name), encoding='utf-8') as f:
    return f.read()
