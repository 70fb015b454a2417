"""Cleaning keeps what people write, and refuses what nobody wrote."""
import types
import unicodedata

import pytest

from data import captions
from data.problems import Bad


@pytest.mark.parametrize('given, expected', [
    ('a red circle', 'a red circle'),
    (b'a red circle\n', 'a red circle'),
    ('\ufeffein Märchen'.encode(), 'ein Märchen'),
    ('  two\t words \r\n and  a line\u2028break ', 'two words and a line break'),
    ('e\u0301t\u00e9', 'été'),
    ('東京 – ночь, שלום', '東京 – ночь, שלום'),
    ('👩🏿‍🚀 & 🏴󠁧󠁢󠁥󠁮󠁧󠁿', '👩🏿‍🚀 & 🏴󠁧󠁢󠁥󠁮󠁧󠁿'),       # joiners and tags stay
    ('نمی\u200cخواهم', 'نمی\u200cخواهم'),       # so does the non-joiner
    ('nul\x00 and \x1b[31mred', 'nul and [31mred'),
    ('<b>&amp;</b>', '<b>&amp;</b>'),           # text like any other
])
def test_cleaned(given, expected):
  assert captions.clean(given, 100) == unicodedata.normalize('NFC', expected)
  assert captions.clean(captions.clean(given, 100), 100) == captions.clean(given, 100)


@pytest.mark.parametrize('given, reason', [
    (None, 'no caption'), ('', 'empty caption'), (b' \n\t\xc2\xa0', 'empty caption'),
    ('\x00\x01', 'empty caption'), (b'gr\xfcn', 'caption not UTF-8'),
    ('a \ud800 b', 'caption not UTF-8'), (b'a' * 101, 'caption too long'),
    ('東' * 101, 'caption too long'), (b'\xff' * 1_000_000, 'caption too long')])
def test_refused(given, reason):
  with pytest.raises(Bad) as error:
    captions.clean(given, 100)
  assert error.value.reason == reason


def test_as_long_as_allowed_is_not_too_long():
  assert captions.clean('東' * 100, 100) == '東' * 100
  assert captions.clean(b' ' * 50 + b'a' * 100, 100) == 'a' * 100


def test_of_several_captions_the_usable_ones_count():
  c = types.SimpleNamespace(max_caption=100, captions='first', caption='')
  assert captions.usable([b'one', None, b'', b'\xff', 'two'], c) == ['one', 'two']
  assert captions.usable('one', c) == captions.usable(b'one', c) == ['one']
  for found, reason in (([], 'no caption'), (None, 'no caption'),
                        (['', None], 'empty caption'), ([None, ''], 'no caption')):
    with pytest.raises(Bad, match=reason):
      captions.usable(found, c)
    none = types.SimpleNamespace(captions='none')
    assert captions.usable(found, none) == captions.usable(['x'], none) == ['']


def test_a_whole_number_is_a_class():
  assert captions.texts([1, 0, -1, 2], ['cat', 'dog']) == ['dog', 'cat', None, None]
  assert captions.texts(7) == ['7'] and captions.texts(-1, []) == ['-1']
  assert captions.texts(['a', b'b', None, 2.5, True, {}]) == ['a', b'b'] + [None] * 4


def test_a_folder_is_its_name():
  assert captions.of_folder('a/red_ship/1.png') == [b'red_ship']
  assert captions.of_folder('1.png') == captions.of_folder('./1.png') == []
  assert captions.of_folder('a/red_ship/1.png', 'top_folder') == [b'a']
  assert captions.of_folder('a/1.png', 'top_folder') == [b'a']
  assert captions.of_folder('./1.png', 'top_folder') == []


def test_nested_fields_are_found():
  row = {'a': [{'b': 'x', 'id': 1}, {'b': 'y', 'id': 2}], 'c': {'d': 'z'}, 'e': None}
  assert captions.inside(row, 'a/b') == ['x', 'y']
  assert captions.inside(row, 'c/d') == 'z'
  assert captions.inside(row, 'e/f') is None and captions.inside(row, 'g') is None
  assert captions.inside('text', '') == 'text' and captions.inside('text', 'a') is None


def test_the_name_of_captions_is_looked_for():
  assert captions.find(['x', 'text'], '', 'column', 'f') == 'text'
  assert captions.find(['x', 'text'], 'x/y', 'column', 'f') == 'x/y'
  for wanted in ('', 'z'):
    with pytest.raises(ValueError, match=r'config.data.caption.*'):
      captions.find(['x'], wanted, 'column', 'f')
