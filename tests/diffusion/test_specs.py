"""Choices with options, and what is said of wrong ones."""
import pytest

from diffusion import specs

TABLE = {'plain': lambda: 'plain',
         'bell': lambda mean=0.0, std=1.0, wide=False: (mean, std, wide),
         'many': lambda times=(): times,
         'of': lambda thing, power=2: thing**power}


@pytest.mark.parametrize('spec, expected', [
    ('plain', 'plain'), ('plain()', 'plain'), ('bell', (0.0, 1.0, False)),
    ('bell(std=2, wide=True)', (0.0, 2, True))])
def test_makes_what_is_written(spec, expected):
  assert specs.build(TABLE, spec, 'a.b') == expected


def test_gives_a_row_what_it_needs():
  assert specs.build(TABLE, 'of(power=3)', 'a.b', thing=2, other=5) == 8


@pytest.mark.parametrize('spec, words', [
    ('other', "not one of ['bell', 'many', 'of', 'plain']"),
    ('bell(sd=1)', "no option 'sd'; its options are ['mean', 'std', 'wide']"),
    ('bell(std="x")', "std is 'x'; it must be like 1.0"),
    ('bell(wide=1)', 'wide is 1; it must be like False'),
    ('bell(1)', 'name(option=value'), ('bell(', 'name(option=value'),
    ('bell(std=a)', 'name(option=value'), ('', 'name(option=value'),
    ('bell(std=nan)', 'name(option=value'),
    ('bell(std=1e999)', 'std is inf; it must be finite'),
    ('bell(mean=-1e999)', 'mean is -inf; it must be finite'),
    ('many(times=(0.5, 1e999))', 'it must be finite')])
def test_says_what_is_wrong(spec, words):
  with pytest.raises(ValueError, match='config.a.b is') as e:
    specs.build(TABLE, spec, 'a.b')
  assert words in str(e.value)


def test_checks_without_building():
  table = {'never': lambda size=1.0: pytest.fail('it was built')}
  assert specs.check(table, 'never(size=3)', 'a.b') == ('never', {'size': 3})
  with pytest.raises(ValueError, match="no option 'sise'"):
    specs.check(table, 'never(sise=3)', 'a.b')


def test_a_row_says_what_it_refuses_and_the_key_is_added():
  def row(size=1.0, share=0.5):
    specs.above_zero(size=size)
    specs.between(0, 1, share=share)
  for spec, said in (('row(size=0.0)', 'size is 0.0; it must be above 0'),
                     ('row(share=2)', 'share is 2; it must be from 0 to 1')):
    with pytest.raises(ValueError) as e:
      specs.build({'row': row}, spec, 'a.b')
    assert str(e.value) == f'config.a.b is {spec!r}: {said}.'


@pytest.mark.parametrize('value', [float('nan'), float('inf'), (1.0, float('nan'))])
def test_no_number_but_a_finite_one_is_accepted(value):
  assert not specs.finite(value)
  assert all(map(specs.finite, (1, 0.5, (), (1, 'x'), 'nan', True)))
