"""GenEval 2, arXiv:2512.16853: prompts of three to ten atoms, by questions (Soft-TIFA).

Read: github.com/facebookresearch/GenEval2 at a6e82d2. README.md and evaluation.py say
that pictures may lie anywhere: a JSON object maps each prompt to one file. Results are
a list, in the order of geneval2_data.jsonl, of a number for each question of a prompt;
soft_tifa_analysis.py takes arithmetic means by skill, and geometric ones by the number
of atoms.
"""
import json
import os

import numpy as np

from evaluation import scores
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.benchmark import Benchmark, Item


def items(prompts: str, num: int, name: str) -> list[Item]:
  del num, name
  lines = benchmark.objects_of(prompts, 'prompt')
  if len({line['prompt'] for line in lines}) < len(lines):
    raise ValueError(f'{prompts} has a prompt twice; GenEval 2 tells pictures by them.')
  return [Item(line['prompt'], (f'{k:05}.png',)) for k, line in enumerate(lines)]


def index(items, folder: str) -> dict:
  """The object of --image_filepath_data: {prompt: path of its picture}."""
  return {'image_paths.json': json.dumps(
      {item.prompt: os.path.join(os.path.abspath(folder), item.paths[0])
       for item in items}, ensure_ascii=False, indent=1) + '\n'}


def read_scores(results, prompts, name: str) -> dict:
  """Soft-TIFA: 'am' and 'gm' over prompts, the first by skill, the second by atoms."""
  del name
  path = benchmark.only(results, 'score_lists.json')
  if not prompts:
    raise ValueError('--prompts=geneval2_data.jsonl is needed: it says which skill a '
                     'number is of.')
  lines = benchmark.objects_of(prompts, 'prompt', 'skills', 'atom_count')
  found = benchmark.json_of(path, list)
  if len(found) != len(lines):
    raise ValueError(f'{path} is of {len(found)} prompts; {prompts} has {len(lines)}.')
  by_skill, by_atoms, am, gm = {}, {}, [], []
  for k, (line, some) in enumerate(zip(lines, found), 1):
    if len(some) != len(line['skills']):
      raise ValueError(f'{path} has {len(some)} numbers for prompt {k}, of '
                       f'{len(line["skills"])} questions; what evaluation.py writes '
                       'with --method=soft_tifa_gm is needed.')
    some = np.array(some, float)
    am.append(some.mean())
    gm.append(np.prod(some) ** (1 / len(some)))
    by_atoms.setdefault(line['atom_count'], []).append(gm[-1])
    for skill, value in zip(line['skills'], some):
      by_skill.setdefault(skill, []).append(value)
  parts = {'gm': gm, 'am': am} | {f'am/{k}': v for k, v in by_skill.items()} | {
      f'gm/{n}_atoms': by_atoms[n] for n in sorted(by_atoms)}
  return {name: scores.mean(np.array(values)) for name, values in parts.items()}


GENEVAL2 = Benchmark(items, read_scores, num=1, unit='%', nums=(1,), index=index)
