"""T2I-CompBench(++), arXiv:2307.06350: attributes, relations, counts, by models.

Read: github.com/Karine-Huang/T2I-CompBench at 1b70949. Readme.md, and what its scripts
split file names by: pictures are samples/PROMPT_NNNNNN.png, numbered through, of which
the prompt is what stands before the first '_'. GORS_finetune/inference_eval.py reads
the prompts of examples/dataset/*_val.txt, a file a category, up to a tab, and draws ten
of each. Results are lists of {'question_id', 'answer'}, each in a folder of its own,
annotation_blip/vqa_result.json and so on.
"""
import os

import numpy as np

from evaluation import scores
from evaluation.benchmarks import benchmark
from evaluation.benchmarks.benchmark import Benchmark, Item


def items(prompts: str, num: int, name: str) -> list[Item]:
  del name
  found = []
  for k, line in enumerate(benchmark.lines_of(prompts)):
    prompt = line.partition('\t')[0]
    if '_' in prompt:
      raise ValueError(f'{prompts}: the prompt {prompt!r} has a _, where its '
                       'evaluation cuts the names of files.')
    found.append(Item(prompt, tuple(
        'samples/' + benchmark.file_name(f'{prompt}_{k * num + i:06}.png', prompts)
        for i in range(num))))
  return found


def read_scores(results, prompts, name: str) -> dict:
  """The mean answer of each file, by the names of the folders that tell them apart."""
  del prompts, name
  folders = [os.path.dirname(os.path.abspath(path)) for path in results]
  above = os.path.commonpath([os.path.dirname(folder) for folder in folders])
  found = {}
  for path, folder in zip(results, folders):
    answers = benchmark.json_of(path, list)
    try:
      values = np.array([float(answer['answer']) for answer in answers])
    except (TypeError, KeyError, ValueError):
      values = np.array([])
    if not len(values):
      raise ValueError(f'{path} is no list of {{"question_id", "answer"}}.')
    found[os.path.relpath(folder, above)] = scores.mean(values)
  return found


T2I_COMPBENCH = Benchmark(items, read_scores, num=10)
