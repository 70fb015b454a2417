"""Features for tests of distances, the same wherever they are drawn."""
import numpy as np


def two_sets(n: int = 300, m: int = 400, width: int = 24):
  """(f64[n width] of generated pictures, f64[m width] of true ones), not negative.

  RandomState's stream is the same in every version of numpy.
  """
  rng = np.random.RandomState(11)
  mix = rng.randn(2, width, width) / width**0.5
  rows = [np.abs(rng.randn(count, width) @ mix[0] + 0.3 * k * mix[1][0])
          for k, count in enumerate((n, m))]
  return rows[0] * 1.1, rows[1]


def logits(n: int = 300, classes: int = 40):
  """f64[n classes]."""
  return 3 * np.random.RandomState(12).randn(n, classes)
