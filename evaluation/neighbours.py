"""How two sets of features cover each other, by the nearest neighbours of each row."""
import numpy as np

from evaluation.distances import squared_distances

BLOCK = 2048  # rows whose distances to all others are held at once


def blocks(a, b):
  """(rows, squared distances f64[rows m]) of f[n d] to f[m d], block by block."""
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  for i in range(0, len(a), BLOCK):
    yield slice(i, i + BLOCK), squared_distances(a[i:i + BLOCK], b)


def radii(rows, k: int) -> np.ndarray:
  """Squared distance of each row of f[n d] to its k-th nearest other one, f64[n]."""
  if len(rows) <= k:
    raise ValueError(f'{len(rows)} pictures have no {k} neighbours each.')
  found = np.empty(len(rows))
  for some, square in blocks(rows, rows):
    own = np.arange(*some.indices(len(rows)))
    square[np.arange(len(own)), own] = 0.0  # without rounding, as the least
    found[some] = np.partition(square, k, 1)[:, k]
  return found


def balls_around(a, b, radii_b):
  """How many balls of b hold each row of a: int[n].

  a: f[n d]. b: f[m d], with squared radii f64[m].
  """
  return np.concatenate([(square <= radii_b).sum(1) for _, square in blocks(a, b)])


def precision_recall(generated, true, k: int = 3):
  """(b[n], b[m]): which rows lie in the other set's manifold, arXiv:1904.06991 eq. 1.

  Their means are precision and recall.
  """
  return (balls_around(generated, true, radii(true, k)) > 0,
          balls_around(true, generated, radii(generated, k)) > 0)


def density_coverage(generated, true, k: int = 5):
  """(f64[n], b[m]) whose means are density and coverage: arXiv:2002.09797 eq. 4, 5."""
  radius = radii(true, k)
  nearest = np.concatenate([square.min(1) for _, square in blocks(true, generated)])
  return balls_around(generated, true, radius) / k, nearest <= radius


def ranked(generated, true, k: int):
  """For each row of f[n d], (int[k], f64[k]): the nearest of f[m d], and how far."""
  for _, square in blocks(generated, true):
    for row in square:
      some = np.argpartition(row, k - 1)[:k]
      some = some[np.argsort(row[some])]
      yield some, np.sqrt(row[some])
