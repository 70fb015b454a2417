"""Distances of features: closed forms, laws, and what other packages make of them."""
import json
import pathlib

import numpy as np
import pytest

from evaluation import distances, moments, neighbours
from helpers.rows import logits, two_sets

RNG = np.random.default_rng
FIXTURE = pathlib.Path(__file__).parent.parent / 'fixtures' / 'metrics.json'
OTHERS = json.loads(FIXTURE.read_text())


def gaussian(mean, covariance):
  return moments.of_covariance(mean, covariance)


# Other packages, on the same features.

def ours() -> dict:
  """{number: ours} by the names of the fixture, of the same features."""
  generated, true = two_sets()
  parts = distances.kernel_distances(generated, true, 7, 100)
  splits = distances.inception_scores(logits(), 10)
  sets = moments.of_rows(generated), moments.of_rows(true)
  shares = [x.mean() for x in neighbours.precision_recall(generated, true, 3)]
  five = [x.mean() for x in neighbours.precision_recall(generated, true, 5)]
  more = [x.mean() for x in neighbours.density_coverage(generated, true, 5)]
  whole = distances.squared_mmd(generated, true[:len(generated)])
  fid = {'fid': distances.frechet(*sets)}
  return {
      'torch-fidelity': fid | {
          'kid': parts.mean(), 'kid_std': parts.std(),
          'inception_score': splits.mean(), 'inception_score_std': splits.std(),
          'precision': shares[0], 'recall': shares[1]},
      'pytorch-fid': fid, 'clean-fid': fid | {'kid_of_all': whole},
      'torchmetrics': fid | {'kid_of_all': whole},
      'prdc': dict(zip(('precision', 'recall', 'density', 'coverage'), five + more))}


def test_the_same_features_give_the_numbers_of_other_packages():
  found = ours()
  assert found.keys() == OTHERS.keys()
  for package, numbers in OTHERS.items():
    assert found[package].keys() == numbers.keys()
    for name, value in numbers.items():
      np.testing.assert_allclose(found[package][name], value, rtol=1e-6,
                                 err_msg=f'{package}, {name}')


# Moments.

def test_moments_do_not_depend_on_how_rows_are_split():
  seed = int(RNG().integers(2**31))
  rng = RNG(seed)
  rows = rng.normal(1e4, 1, (200, 5)) * rng.uniform(0.1, 10, 5)
  whole, merged = moments.of_rows(rows), None
  cuts = np.sort(rng.integers(0, 200, 6))
  for part in np.split(rows, np.unique(cuts[cuts > 0])):
    merged = moments.merge(merged, moments.of_rows(part))
  assert merged.n == 200, f'seed {seed}'
  np.testing.assert_allclose(merged.mean, rows.mean(0), rtol=1e-13)
  for found in (merged, whole):
    np.testing.assert_allclose(found.covariance, np.cov(rows, rowvar=False),
                               rtol=1e-10, atol=1e-9, err_msg=f'seed {seed}')


def test_one_row_has_no_covariance():
  with pytest.raises(ValueError, match='at least 2'):
    distances.frechet(moments.of_rows(np.ones((1, 3))), moments.of_rows(np.eye(3)))


# The Fréchet distance.

def test_frechet_distance_of_two_gaussians_is_that_of_the_formula():
  """In two dimensions, tr((A B)^1/2)^2 = tr(A B) + 2 det(A B)^1/2."""
  seed = int(RNG().integers(2**31))
  rng = RNG(seed)
  for _ in range(20):
    a, b = (x @ x.T for x in rng.normal(size=(2, 2, 2)))
    apart = rng.normal(size=2)
    trace = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    np.testing.assert_allclose(
        distances.frechet(gaussian(np.zeros(2), a), gaussian(apart, b)),
        apart @ apart + np.trace(a) + np.trace(b) - 2 * trace, rtol=1e-9, atol=1e-12,
        err_msg=f'seed {seed}')


def test_frechet_distance_of_fewer_rows_than_features():
  """Of singular covariances: the trace is the nuclear norm of the centred rows."""
  x, y = RNG(3).normal(size=(12, 40)), RNG(4).normal(size=(15, 40)) * 2
  cx, cy = ((z - z.mean(0)) / np.sqrt(len(z) - 1) for z in (x, y))
  expected = (np.sum((x.mean(0) - y.mean(0))**2) + np.sum(cx**2) + np.sum(cy**2)
              - 2 * np.linalg.svd(cx @ cy.T, compute_uv=False).sum())
  np.testing.assert_allclose(
      distances.frechet(moments.of_rows(x), moments.of_rows(y)), expected, rtol=1e-7)


@pytest.mark.parametrize('n', [20, 500])
def test_a_set_is_at_no_distance_from_itself(n):
  rows = RNG(0).normal(3, 2, (n, 64))
  found = moments.of_rows(rows)
  assert abs(distances.frechet(found, found)) < 1e-10 * np.trace(found.covariance)
  assert abs(distances.clip_mmd(rows, rows)) < 1e-9
  for values in (*neighbours.precision_recall(rows, rows), neighbours.density_coverage(
      rows, rows)[1]):
    assert values.mean() == 1


def test_frechet_distance_is_too_large_by_a_share_of_one_over_n():
  """Of n rows of N(0, I) to N(0, I) itself, d / n + d (d + 1) / 4n to first order."""
  d, rng = 16, RNG(5)
  truth = gaussian(np.zeros(d), np.eye(d))
  for n in (250, 1000):
    bias = np.mean([distances.frechet(moments.of_rows(rng.normal(size=(n, d))), truth)
                    for _ in range(40)])
    np.testing.assert_allclose(bias, (d + d * (d + 1) / 4) / n, rtol=0.1)


def test_frechet_infinity_has_less_of_that_bias():
  """Of N(0, I) and N(0, 1.5^2 I), whose distance is d / 4."""
  d, rng = 16, RNG(5)
  truth, found = gaussian(np.zeros(d), 2.25 * np.eye(d)), []
  for _ in range(60):
    rows = rng.normal(size=(1000, d))
    found.append((distances.frechet(moments.of_rows(rows), truth) - d / 4,
                  distances.frechet_infinity(rows, truth, 8, 100) - d / 4))
  plain, infinite = np.mean(found, 0)
  assert plain > 0.06 and abs(infinite) < 0.4 * plain


# Kernels.

def polynomial_mean(mu, a, nu, b):
  """E (x . y / d + 1)^3 of x ~ N(mu, a I) and y ~ N(nu, b I), independent."""
  d, m, mm, nn = len(mu), mu @ nu, mu @ mu, nu @ nu
  second = a * (b * d + nn) + b * mm + m**2
  third = m**3 + 3 * m * b * mm + 3 * a * m * (nn + b * d + 2 * b)
  return third / d**3 + 3 * second / d**2 + 3 * m / d + 1


def test_kid_has_no_bias_and_is_that_of_the_formula():
  mu, nu, a, b = np.array([1.0, -0.5, 0.2]), np.array([0.3, 0.4, 1.0]), 1.0, 0.5
  expected = (polynomial_mean(mu, a, mu, a) + polynomial_mean(nu, b, nu, b)
              - 2 * polynomial_mean(mu, a, nu, b))
  rng = RNG(6)
  found = np.array([distances.squared_mmd(
      mu + a**0.5 * rng.normal(size=(40, 3)), nu + b**0.5 * rng.normal(size=(40, 3)))
                    for _ in range(3000)])
  assert abs(found.mean() - expected) < 4 * found.std() / len(found)**0.5
  assert found.std() / len(found)**0.5 < 0.02 * expected
  alike = np.array([distances.squared_mmd(*rng.normal(size=(2, 30, 3)))
                    for _ in range(2000)])
  assert abs(alike.mean()) < 4 * alike.std() / len(alike)**0.5


def test_cmmd_of_gaussians_is_that_of_the_formula():
  """E exp(-|x - y|^2 / 2 s^2) of x - y ~ N(delta, v I) in d dimensions; its bias."""
  n, d, s, delta = 1500, 4, 2.0, np.array([1.0, 0.5, 0.0, -1.0])
  rng = RNG(7)
  x, y = rng.normal(size=(n, d)), delta + 0.5 * rng.normal(size=(n, d))
  def mean(v, apart):
    return (s**2 / (s**2 + v))**(d / 2) * np.exp(-apart @ apart / 2 / (s**2 + v))
  within = mean(2, 0 * delta) + mean(0.5, 0 * delta)
  expected = within * (1 - 1 / n) + 2 / n - 2 * mean(1.25, delta)
  np.testing.assert_allclose(distances.clip_mmd(x, y, sigma=s, scale=1.0), expected,
                             rtol=0.05)
  np.testing.assert_allclose(distances.clip_mmd(x, y),
                             1000 * distances.clip_mmd(x, y, 10.0, 1.0))


# The inception score, neighbours.

def test_inception_score_is_one_of_nothing_and_all_of_certainty():
  np.testing.assert_allclose(distances.inception_scores(np.zeros((100, 7)), 2), 1)
  sure = 200.0 * np.eye(7)[np.arange(700) % 7]
  np.testing.assert_allclose(distances.inception_scores(sure, 1), 7)


def test_precision_is_of_what_is_drawn_and_recall_of_what_is_true():
  """Pictures of one of two distant groups: all are good, half of the truth is there."""
  rng = RNG(8)
  true = rng.normal(size=(400, 3)) + np.repeat([[0], [100]], 200, 0)
  generated = 0.5 * rng.normal(size=(300, 3))
  precision, recall = (x.mean() for x in neighbours.precision_recall(generated, true))
  density, coverage = (x.mean() for x in neighbours.density_coverage(generated, true))
  assert precision > 0.95 and recall < 0.5 and density > 0.9 and coverage < 0.55
  recall, precision = (x.mean() for x in neighbours.precision_recall(true, generated))
  assert precision > 0.95 and recall < 0.5


def test_the_nearest_is_found_in_blocks(monkeypatch):
  monkeypatch.setattr(neighbours, 'BLOCK', 7)
  rng = RNG(9)
  true = rng.normal(size=(50, 4))
  order = rng.permutation(50)[:30]
  index, distance = map(np.stack, zip(*neighbours.ranked(true[order] + 1e-3, true, 3)))
  np.testing.assert_array_equal(index[:, 0], order)
  np.testing.assert_allclose(distance[:, 0], 2e-3, rtol=1e-6)
  far = np.sqrt(((true[order, None] + 1e-3 - true) ** 2).sum(-1))
  np.testing.assert_allclose(distance, np.sort(far)[:, :3])
  square = ((true[:, None] - true) ** 2).sum(-1)
  np.testing.assert_allclose(neighbours.radii(true, 4), np.sort(square)[:, 4])
