"""PartiPrompts (P2), arXiv:2206.10789 section 4.2: 1,632 prompts of categories.

Read: github.com/google-research/parti at 5a65797: PartiPrompts.tsv has the columns
Prompt, Category, Challenge and Note, without quoting. No code that judges is published:
people do, or a preference model. So the folder is what the package datasets reads as an
imagefolder, NNNNN.png (NNNNN-I.png of several) with a metadata.jsonl that has those
columns; and a result is that file with a number of the judge's, or several, added to
each line.
"""
import csv
import json

import numpy as np

from evaluation import scores
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.benchmark import Benchmark, Item

COLUMNS = ('Prompt', 'Category', 'Challenge')


def items(prompts: str, num: int, name: str) -> list[Item]:
  del name
  rows = list(csv.DictReader(benchmark.lines_of(prompts), delimiter='\t',
                             quoting=csv.QUOTE_NONE))
  if not rows or not set(COLUMNS) <= rows[0].keys():
    raise ValueError(f'{prompts} has no rows of the columns {list(COLUMNS)}, with tabs '
                     'between.')
  found = []
  for k, row in enumerate(rows):
    names = [f'{k:05}.png' if num == 1 else f'{k:05}-{i}.png' for i in range(num)]
    about = {key: value or '' for key, value in row.items() if key}
    found.append(Item(row['Prompt'], tuple(names), about=about))
  return found


def index(items, folder: str) -> dict:
  """What the package datasets reads beside the pictures of an imagefolder."""
  del folder
  return {'metadata.jsonl': ''.join(
      json.dumps({'file_name': path} | item.about, ensure_ascii=False) + '\n'
      for item in items for path in item.paths)}


def read_scores(results, prompts, name: str) -> dict:
  """Means of each number that a judge has added, overall, by category and challenge."""
  del prompts, name
  path = benchmark.only(results, 'metadata.jsonl with the numbers of a judge')
  lines = benchmark.objects_of(path, 'file_name', *COLUMNS)
  judges = [key for key, value in lines[0].items() if type(value) in (int, float)]
  if not judges:
    raise ValueError(f'{path}: its lines have no number of a judge, such as '
                     '"PickScore": 21.3.')
  parts = {}
  for line in lines:
    for judge in judges:
      if type(line.get(judge)) not in (int, float):
        raise ValueError(f'{path}: {line["file_name"]} has no number {judge!r}.')
      for part in ('', f'/{line["Category"]}', f'/{line["Challenge"]}'):
        parts.setdefault(judge + part, []).append(line[judge])
  return {part: scores.mean(np.array(values, float)) for part, values in parts.items()}


PARTI_PROMPTS = Benchmark(items, read_scores, num=1, index=index)
