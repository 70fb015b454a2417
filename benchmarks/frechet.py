"""Time and memory of a Fréchet distance of 50,000 pictures with 2,048 features each.

    python benchmarks/frechet.py

Rows are drawn at random, batch by batch, as they come from a network. Statistics of
one set and the distance are timed, by the clock and in processor time, which says more
where others use the machine; and the most memory that the process had is told.
"""
import argparse
import os
import resource
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np

from evaluation import distances, moments


def of_set(num: int, width: int, batch: int, seed: int):
  """(Moments of such rows, [seconds, processor seconds] without drawing)."""
  rng, found, spent = np.random.default_rng(seed), None, np.zeros(2)
  mix = rng.standard_normal((width, width), np.float32) / width**0.5
  for start in range(0, num, batch):
    rows = np.abs(rng.standard_normal((min(batch, num - start), width), np.float32)
                  @ mix)
    since = now()
    found = moments.merge(found, moments.of_rows(rows))
    spent += now() - since
  return found, spent


def now():
  """f64[2]: by the clock, and of all threads of this process."""
  return np.array([time.monotonic(), time.process_time()])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--num', type=int, default=50_000, help='pictures of each set')
  parser.add_argument('--width', type=int, default=2_048, help='features')
  parser.add_argument('--batch', type=int, default=512, help='pictures at a time')
  given = parser.parse_args()
  a, spent = of_set(given.num, given.width, given.batch, 0)
  b, _ = of_set(given.width + 100, given.width, given.batch, 1)
  since = now()
  value = distances.frechet(a, b)
  more = now() - since
  memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
  print(f'{given.num:,} x {given.width:,} features (by the clock, processor time):')
  for name, (clock, used) in (('statistics', spent), ('distance', more),
                              ('both', spent + more)):
    print(f'  {name:<12}{clock:>8.1f} s {used:>8.1f} s')
  print(f'  {memory:.2f} GiB; the distance is {value:.2f}')


if __name__ == '__main__':
  main()
