"""Mean and covariance of rows that come in parts, in float64."""
from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
  """Of n rows of width d.

  Attributes:
    n: int.
    mean: f64[d].
    scatter: f64[d d], the sum over rows of (x - mean)(x - mean)^T.
  """
  n: int
  mean: np.ndarray
  scatter: np.ndarray

  @property
  def covariance(self) -> np.ndarray:
    """f64[d d], unbiased. Raises ValueError for fewer than two rows."""
    if self.n < 2:
      raise ValueError(f'a covariance needs at least 2 pictures, not {self.n}.')
    return self.scatter / (self.n - 1)


def of_rows(rows) -> Moments:
  """Moments of f[n d]."""
  rows = np.asarray(rows, np.float64)
  mean = rows.mean(0)
  away = rows - mean
  return Moments(len(rows), mean, away.T @ away)


def of_covariance(mean, covariance, n: int = 2) -> Moments:
  """Moments of a mean f[d] and an unbiased covariance f[d d], as statistics are stored.

  n: where it is known; distances do not depend on it.
  """
  return Moments(n, np.asarray(mean, np.float64),
                 np.asarray(covariance, np.float64) * (n - 1))


def merge(a: Moments | None, b: Moments) -> Moments:
  """Moments of the rows of both: Chan et al., 1979, eq. 2.1. None stands for none."""
  if a is None:
    return b
  n, apart = a.n + b.n, b.mean - a.mean
  scatter = np.outer(apart, apart * (a.n * b.n / n))
  scatter += a.scatter
  scatter += b.scatter
  return Moments(n, a.mean + apart * (b.n / n), scatter)
