"""OneIG-Bench, arXiv:2506.07977: alignment, text, reasoning, style and diversity.

Read: github.com/OneIG-Bench/OneIG-Benchmark at 41b4983. text2image.py draws four
pictures of each row of OneIG-Bench.csv (prompt_en) or OneIG-Bench-ZH.csv (prompt_cn)
and lays them out in a grid, CLASS/MODEL/ID.webp; scripts/utils/utils.py cuts that. Each
script writes two tables with a time in their names, METRIC_score_MODE_TIME.csv, a row a
model, and METRIC_prompt_score_MODE_TIME.csv, a row a prompt and a column a model.
"""
import csv
import os
import re

import numpy as np

from evaluation import scores
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.benchmark import Benchmark, Item

CLASSES = {  # of category: the folder
    'Anime_Stylization': 'anime', 'Portrait': 'human', 'General_Object': 'object',
    'Text_Rendering': 'text', 'Knowledge_Reasoning': 'reasoning',
    'Multilingualism': 'multilingualism'}
METRICS = ('alignment', 'text', 'diversity', 'style', 'reasoning')
TABLE = re.compile(rf'({"|".join(METRICS)})(_prompt)?_score_(EN|ZH).*\.csv')


def items(prompts: str, num: int, name: str) -> list[Item]:
  """name: of the model, a folder of its own in each class."""
  del num
  found = []
  for row in rows_of(prompts):
    text = row.get('prompt_en') or row.get('prompt_cn')
    if row.get('category') not in CLASSES or not text or not row.get('id'):
      raise ValueError(f'{prompts}: {row} lacks a category of {list(CLASSES)}, an id '
                       'or a prompt_en or prompt_cn.')
    file = benchmark.file_name(f'{row["id"]}.webp', prompts)
    folder = benchmark.file_name(name, '--name')
    found.append(Item(text, (f'{CLASSES[row["category"]]}/{folder}/{file}',)))
  return found


def rows_of(path: str) -> list[dict]:
  """Rows of a table; ValueError for one without any."""
  try:
    with open(path, encoding='utf-8-sig', newline='') as f:
      rows = list(csv.DictReader(f))
  except (UnicodeDecodeError, csv.Error) as e:
    raise ValueError(f'{path} is no CSV in UTF-8: {e}') from e
  if not rows:
    raise ValueError(f'{path} has no rows.')
  return rows


def read_scores(results, prompts, name: str) -> dict:
  """Each metric and its parts, of the newest tables of the folder results/.

  Intervals are over prompts; what is no mean of theirs, as of text, has none.
  """
  del prompts
  folder = benchmark.only(results, 'the folder results')
  newest = {}
  for file in sorted(os.listdir(folder)):
    if match := TABLE.fullmatch(file):
      newest[match[3], match[1], bool(match[2])] = os.path.join(folder, file)
  found = {}
  for mode, metric in sorted({key[:2] for key in newest}):
    if missing := {(mode, metric, each) for each in (False, True)} - newest.keys():
      part = '_prompt' * missing.pop()[2]
      raise ValueError(f'{folder} has no {metric}{part}_score_{mode}*.csv.')
    means = by_prompt(newest[mode, metric, True], name)
    total = by_model(newest[mode, metric, False], name)
    at = metric + '_zh' * (mode == 'ZH')
    if metric == 'text':  # whose words count alike, not prompts
      found |= {at if key == 'text score' else f'{at}/{key}':
                scores.Score(value, None, None, len(means)) for key, value in
                total.items()}
      continue
    parts = {at: list(means.values())}
    for prompt, value in means.items():
      if '_' in prompt:  # CLASS_ID
        parts.setdefault(f'{at}/{prompt.rpartition("_")[0]}', []).append(value)
    found |= {part: scores.mean(np.array(values)) for part, values in parts.items()}
  if not found:
    raise ValueError(f'{folder} has no METRIC_score_EN*.csv of {list(METRICS)}.')
  return found


def by_model(path: str, name: str) -> dict:
  """{column: number} of a model's row, without empty ones."""
  rows = {row.pop(''): row for row in rows_of(path)}
  if name not in rows:
    raise ValueError(f'{path} has no model {name!r}, but {sorted(rows)}; --name says '
                     'which.')
  return {key: float(value) for key, value in rows[name].items() if value}


def by_prompt(path: str, name: str) -> dict:
  """{prompt: number} of a model's column, without empty ones; of a list: 0."""
  rows = rows_of(path)
  if name not in rows[0]:
    raise ValueError(f'{path} has no model {name!r}, but '
                     f'{sorted(rows[0].keys() - {""})}; --name says which.')
  return {row['']: 0.0 if row[name].startswith('[') else float(row[name])
          for row in rows if row[name]}


ONEIG = Benchmark(items, read_scores, num=4, nums=(1, 4, 9))
