r"""Plots prompt accuracy against minutes of training.

python benchmarks/by_minute.py --out=benchmarks/results/by_minute.png [WORKDIR ...]

Reads benchmarks/results/tried.csv, what was tried on the way, and metrics.jsonl of any
workdirs given.
"""
import argparse
import csv
import json
import os

from matplotlib import pyplot as plt

HERE = os.path.dirname(os.path.abspath(__file__))


def tried():
  """{run: [(minutes, one object, two objects)]} of the table, in percent."""
  curves = {}
  with open(os.path.join(HERE, 'results', 'tried.csv'), encoding='utf-8') as f:
    for row in csv.DictReader(f):
      curves.setdefault(f'{row["run"]}: {row["what"]}', []).append(
          (float(row['minutes']), float(row['one']), float(row['two'])))
  return curves


def trained(workdir):
  """The same of a run's metrics.jsonl."""
  with open(os.path.join(workdir, 'metrics.jsonl'), encoding='utf-8') as f:
    rows = [json.loads(line) for line in f]
  scored = [r for r in rows if 'accuracy/two_objects' in r]
  return [(r['seconds'] / 60, 100 * r['accuracy/one_object'],
           100 * r['accuracy/two_objects']) for r in scored]


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('workdirs', nargs='*')
  parser.add_argument('--out', required=True)
  args = parser.parse_args()
  curves = tried() | {f'{os.path.basename(w.rstrip("/"))}: the config as it is':
                      trained(w) for w in args.workdirs}
  figure, axes = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
  for name, points in curves.items():
    minutes, one, two = zip(*[(0, 0, 0), *points])
    strong = 'as it is' in name
    for axis, values in zip(axes, (one, two)):
      axis.plot(minutes, values, marker='o', ms=3, lw=2.5 if strong else 1,
                color='black' if strong else None, label=name)
  for axis, title in zip(axes, ('one object', 'two objects, unseen combinations')):
    axis.set(title=title, xlabel='minutes of training, two cores', ylim=(0, 100))
    axis.grid(alpha=0.3)
  axes[0].set_ylabel('prompt accuracy, %')
  axes[1].legend(fontsize=8, loc='upper left')
  figure.tight_layout()
  figure.savefig(args.out, dpi=110)
  print(args.out)


if __name__ == '__main__':
  main()
