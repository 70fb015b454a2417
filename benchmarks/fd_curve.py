"""Fréchet distance against the number of pictures, in the shapes world.

    python evaluate.py --workdir=weights/shapes --metrics="fd(features='shapes')" \
        --num=5000 --solver=ddim --steps=6 --split=test --out=samples.npz
    python benchmarks/fd_curve.py --pictures=samples.npz --out=docs/images/fd_curve.png

Of the first n pictures of samples.npz, and of n true pictures that are drawn anew of
the scenes of the test split, to the 1,024 true pictures of that split.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import jax
from matplotlib import figure
import numpy as np

from data.sources import shapes
from evaluation import distances, features, moments

SIZES = (200, 500, 1000, 2000, 5000)
TEST = 1_024  # pictures of the test split


def true_pictures(num: int, first: int = 0):
  """uint8[num 32 32 3]: those of the test split, and of the same kind after them."""
  return np.stack([shapes.example('test', first + i, (32, 32))['image']
                   for i in range(num)])


def features_of(pictures):
  """f32[n 128] of the small network of the shapes world."""
  network = features.load('shapes')
  apply = jax.jit(network.apply)
  return np.concatenate([apply(network.params, network.preprocess(
      pictures[i:i + 500]))['pool'] for i in range(0, len(pictures), 500)])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--pictures', required=True, help='NAME.npz of evaluate.py')
  parser.add_argument('--out', required=True, help='NAME.png')
  given = parser.parse_args()
  reference = moments.of_rows(features_of(true_pictures(TEST)))
  sets = {'drawn': np.load(given.pictures)['arr_0'],
          'true': true_pictures(SIZES[-1], TEST)}
  sheet = figure.Figure(layout='constrained', figsize=(7, 4.5))
  axes = sheet.subplots()
  for (name, pictures), colour in zip(sets.items(), ('#0072b2', '#d55e00')):
    rows = features_of(pictures)
    found = [distances.frechet(moments.of_rows(rows[:n]), reference) for n in SIZES]
    limit = distances.frechet_infinity(rows, reference, 15, 500)
    print(f'{name}: ' + ', '.join(f'{n:,} {value:.3f}' for n, value in zip(
        SIZES, found)) + f'; without bound {limit:.3f}')
    axes.plot(SIZES, found, 'o-', color=colour, label=f'{name} pictures')
    axes.axhline(limit, ls=':', color=colour)
    axes.annotate('as n grows without bound', (SIZES[0], limit), xytext=(0, 4),
                  textcoords='offset points', fontsize=8, color=colour)
  axes.set(xscale='log', xlabel='n, pictures', ylim=(0, None),
           ylabel='Fréchet distance to the 1,024 of the test split')
  axes.set_xticks(SIZES, [f'{n:,}' for n in SIZES])
  axes.minorticks_off()
  axes.grid(color='#eeeeee')
  axes.spines[['top', 'right']].set_visible(False)
  axes.legend(frameon=False)
  sheet.savefig(given.out, dpi=100)
  print(given.out)


if __name__ == '__main__':
  main()
