"""Distances between two sets of features, as arrays in float64: no network, no file."""
import numpy as np
from scipy import linalg, special

from evaluation import moments as moments_of
from evaluation.moments import Moments

BLOCK = 4096  # rows whose kernel with all others is held at once


def frechet(a: Moments, b: Moments) -> float:
  """Fréchet distance of two Gaussians, arXiv:1706.08500 eq. 6.

  |mu_a - mu_b|^2 + tr(A) + tr(B) - 2 tr((A B)^1/2). With A = F F^T and B = G G^T the
  last trace is the sum of the singular values of F^T G, whose squares are the
  eigenvalues of the symmetric A^1/2 B A^1/2. So no square root of a matrix is taken,
  and covariances of few pictures, which are singular, need nothing added to them.
  """
  apart = a.mean - b.mean
  cross = linalg.svdvals(factor(a.covariance).T @ factor(b.covariance)).sum()
  return float(apart @ apart + np.trace(a.covariance) + np.trace(b.covariance)
               - 2 * cross)


def factor(covariance) -> np.ndarray:
  """F f64[d d] with F F^T the covariance."""
  values, vectors = linalg.eigh(covariance, driver='evd')
  return vectors * np.sqrt(np.clip(values, 0, None))


def frechet_infinity(rows, reference: Moments, points: int, smallest: int,
                     seed: int = 0) -> float:
  """Fréchet distance as the number of rows grows without bound: arXiv:1911.07023.

  That of `points` random parts of f[n d], from `smallest` rows to all, is taken to be
  linear in 1 / n; this is where the line meets 0.
  """
  rng, sizes = np.random.default_rng(seed), np.linspace(smallest, len(rows), points)
  sizes = sizes.astype(int)
  found = [frechet(moments_of.of_rows(rows[rng.permutation(len(rows))[:n]]), reference)
           for n in sizes]
  return float(np.polyfit(1 / sizes, found, 1)[1])


def polynomial(x, y) -> np.ndarray:
  """The kernel of KID, (x . y / d + 1)^3, f64[n m]: arXiv:1801.01401 sec. 4."""
  return (x @ y.T / x.shape[1] + 1) ** 3


def squared_mmd(x, y, kernel=polynomial) -> float:
  """The squared maximum mean discrepancy of f64[n d] and f64[m d], without bias.

  arXiv:1801.01401 eq. 4: a row is not compared with itself.
  """
  def within(rows):
    values = kernel(rows, rows)
    return (values.sum() - np.trace(values)) / len(rows) / (len(rows) - 1)
  return float(within(x) + within(y) - 2 * kernel(x, y).mean())


def kernel_distances(x, y, subsets: int, size: int, seed: int = 2020) -> np.ndarray:
  """squared_mmd of `subsets` pairs of random parts, `size` rows each: f64[subsets].

  x: f[n d], of generated pictures. y: f[m d], of true ones. The parts are those that
  torch-fidelity draws, so that the same features give the same number.
  """
  rng, found = np.random.RandomState(seed), []
  for _ in range(subsets):
    some = [np.asarray(rows[rng.choice(len(rows), size, replace=False)], np.float64)
            for rows in (x, y)]
    found.append(squared_mmd(*some))
  return np.array(found)


def clip_mmd(x, y, sigma: float = 10.0, scale: float = 1000.0) -> float:
  """CMMD, arXiv:2401.09603 sec. 4: `scale` times the squared MMD, by a Gaussian kernel.

  With its bias, as published: rows are compared with themselves, too.

  x, y: f[n d] and f[m d], rows of length 1.
  """
  def mean(a, b):
    return sum(np.exp(-squared_distances(a[i:i + BLOCK], b) / (2 * sigma**2)).sum()
               for i in range(0, len(a), BLOCK)) / len(a) / len(b)
  x, y = (np.asarray(rows, np.float64) for rows in (x, y))
  return float(scale * (mean(x, x) + mean(y, y) - 2 * mean(x, y)))


def squared_distances(a, b) -> np.ndarray:
  """f64[n m] of rows f64[n d] and f64[m d]."""
  square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
  return np.clip(square, 0, None)


def inception_scores(logits, splits: int, seed: int = 2020) -> np.ndarray:
  """exp(E KL(p(y|x) || p(y))) of each split, f64[splits]: arXiv:1606.03498 sec. 4.

  logits: f[n classes]. They are shuffled as torch-fidelity does.
  """
  order, n = np.random.RandomState(seed).permutation(len(logits)), len(logits)
  log_p = special.log_softmax(np.asarray(logits, np.float64)[order], 1)
  found = []
  for i in range(splits):
    some = log_p[i * n // splits:(i + 1) * n // splits]
    marginal = special.logsumexp(some, 0) - np.log(len(some))
    found.append(np.exp((np.exp(some) * (some - marginal)).sum(1).mean()))
  return np.array(found)
