"""What is counted is what was read."""
import numpy as np
import pytest

from data import problems


def test_counts_by_reason():
  tally = problems.Tally()
  tally.add(np.zeros(90, np.uint8))
  tally.add([problems.CODES['empty file']] * 3 + [problems.CODES['too small']] * 7)
  assert (tally.total, tally.bad) == (100, 10)
  assert tally.by_reason() == {'empty file': 3, 'too small': 7}
  assert tally.line() == (
      '10 of 100 pictures (10.0%) were bad: 7 too small, 3 empty file')
  both = problems.Tally(tally.counts + tally.counts)  # as of two processes
  assert (both.total, both.bad) == (200, 20)


@pytest.mark.parametrize('read, bad, most, stops', [
    (10_000, 1_000, 0.1, False), (10_000, 1_001, 0.1, True),
    (20, 20, 0.1, False),        # too few to judge
    (200, 101, 0.1, True),       # as bad as 1,000 pictures may be
    (1_000, 1, 0.0, True), (1_000, 0, 0.0, False), (5_000, 5_000, 1.0, False)])
def test_stops_above_the_share(read, bad, most, stops):
  tally = problems.Tally()
  tally.add([0] * (read - bad) + [problems.CODES['not a picture']] * bad)
  if not stops:
    return tally.check_share(most)
  with pytest.raises(ValueError, match=f'config.data.max_bad is {most:g}.*{bad:,}'):
    tally.check_share(most)


def test_a_picture_without_a_substitute_stops_at_once():
  tally = problems.Tally()
  tally.add([problems.CODES['no substitute']])
  with pytest.raises(ValueError, match='no good one'):
    tally.check_share(1.0)
