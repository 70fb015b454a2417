"""GenEval, arXiv:2310.11513: objects, counts, colours, positions, by a detector.

Read: github.com/djghosh13/geneval at af4902f. README.md has the layout of pictures,
evaluation/evaluate_images.py what it reads of them and writes (JSON lines with 'tag',
'correct', 'metadata', ...), evaluation/summary_scores.py how that becomes scores.

  00000/metadata.jsonl          the line of prompts/evaluation_metadata.jsonl
  00000/samples/0000.png ...    four a prompt
"""
import json

import numpy as np

from evaluation import scores
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.benchmark import Benchmark, Item


def items(prompts: str, num: int, name: str) -> list[Item]:
  del name
  return [Item(line['prompt'],
               tuple(f'{k:05}/samples/{i:04}.png' for i in range(num)),
               {f'{k:05}/metadata.jsonl': json.dumps(line)})
          for k, line in enumerate(benchmark.objects_of(prompts, 'prompt', 'tag'))]


def read_scores(results, prompts, name: str) -> dict:
  """'overall', the mean of the tasks; a share of pictures a task; both kinds of right.

  'prompts' is the share of prompts of which one picture at least is right.
  """
  del prompts, name
  lines = benchmark.objects_of(benchmark.only(results, 'results.jsonl'), 'tag',
                               'correct', 'metadata')
  by_tag, by_prompt = {}, {}
  for line in lines:
    by_tag.setdefault(line['tag'], []).append(bool(line['correct']))
    by_prompt.setdefault(line['metadata'], []).append(bool(line['correct']))
  overall = float(np.mean([np.mean(right) for right in by_tag.values()]))
  return {'overall': scores.Score(overall, None, None, len(lines), 'mean of the tasks'),
          **{tag: scores.share(sum(right), len(right))
             for tag, right in by_tag.items()},
          'pictures': scores.share(sum(bool(line['correct']) for line in lines),
                                   len(lines)),
          'prompts': scores.share(sum(map(any, by_prompt.values())), len(by_prompt))}


GENEVAL = Benchmark(items, read_scores, num=4, unit='%')
