"""DPG-Bench, arXiv:2403.05135 section 4: long prompts, by questions of mPLUG.

Read: github.com/TencentQQGYLab/ELLA at 3c228f1, dpg_bench/: prompts/ID.txt each hold a
prompt; compute_dpg_bench.py takes every file of the folder of pictures for one of
ID.png, with four pictures of --resolution pixels a side in two rows (or one, with
PIC_NUM=1), and writes a line a file, 'PATH, SCORE, ..., MEAN', and then a summary.
"""
import os

import numpy as np

from evaluation import scores
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.benchmark import Benchmark, Item

LEVELS = {'L1 category scores:': 'L1', 'L2 category scores:': 'L2'}


def items(prompts: str, num: int, name: str) -> list[Item]:
  """prompts: the folder prompts/."""
  del num, name
  if not os.path.isdir(prompts):
    raise ValueError(f'{prompts} is no folder; DPG-Bench has one of ID.txt files, '
                     'dpg_bench/prompts.')
  names = sorted(n for n in os.listdir(prompts) if n.endswith('.txt'))
  if not names:
    raise ValueError(f'{prompts} holds no ID.txt.')
  return [Item(' '.join(benchmark.lines_of(os.path.join(prompts, n))),
               (f'{n.removesuffix(".txt")}.png',)) for n in names]


def read_scores(results, prompts, name: str) -> dict:
  """'overall', the mean over prompts, and what the summary says of categories."""
  del prompts, name
  path = benchmark.only(results, 'dpg-bench_TIME_results.txt')
  means, level, found = [], None, {}
  for line in benchmark.lines_of(path):
    level = LEVELS.get(line, level)
    label, _, value = line.strip().rpartition(': ')
    if line.startswith('\t') and level:
      found[f'{level}/{label}'] = number(value, path, line) / 100
    elif line.startswith('Model: '):
      level = 'summary'
    elif level is None:
      means.append(number(line.rpartition(', ')[2], path, line))
  if not means:
    raise ValueError(f'{path} has no line of a picture: PATH, SCORE, ..., MEAN.')
  return {'overall': scores.mean(np.array(means))} | {
      name: scores.Score(value, None, None, len(means), 'of the summary')
      for name, value in found.items()}


def number(text: str, path: str, line: str) -> float:
  try:
    return float(text)
  except ValueError:
    raise ValueError(f'{path}: {line[:80]!r} ends in no number.') from None


DPG_BENCH = Benchmark(items, read_scores, num=4, unit='%', nums=(1, 4), square=True)
