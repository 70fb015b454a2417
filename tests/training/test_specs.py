"""Choices with options, and what is said of wrong ones."""
import pytest

from training import specs

TABLE = {'plain': lambda: 'plain',
         'bell': lambda mean=0.0, std=1.0, wide=False: (mean, std, wide),
         'of': lambda thing, power=2: thing**power}


@pytest.mark.parametrize('spec, expected', [
    ('plain', 'plain'), ('plain()', 'plain'), ('bell', (0.0, 1.0, False)),
    ('bell(std=2, wide=True)', (0.0, 2, True))])
def test_makes_what_is_written(spec, expected):
  assert specs.make(TABLE, spec, 'a.b') == expected


def test_hands_on_what_is_not_an_option():
  assert specs.make(TABLE, 'of(power=3)', 'a.b', 2) == 8


@pytest.mark.parametrize('spec, words', [
    ('other', "not one of ['bell', 'of', 'plain']"),
    ('bell(sd=1)', "no option 'sd'; its options are ['mean', 'std', 'wide']"),
    ('bell(std="x")', "std is 'x'; it must be like 1.0"),
    ('bell(wide=1)', 'wide is 1; it must be like False'),
    ('bell(1)', 'name(option=value'), ('bell(', 'name(option=value'),
    ('bell(std=a)', 'name(option=value'), ('', 'name(option=value')])
def test_says_what_is_wrong(spec, words):
  with pytest.raises(ValueError, match='config.a.b is') as e:
    specs.make(TABLE, spec, 'a.b')
  assert words in str(e.value)
