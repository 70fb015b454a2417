"""What the report says is what was put there."""
import numpy as np
from PIL import Image, ImageFont
import pytest

from data import sheet
from helpers.commands import DATA, Commands
from helpers import made

N = 40


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
  started = Commands(tmp_path_factory.mktemp('forks'), imports=DATA)
  yield started
  started.close()


def inspect(commands, root, *more):
  return commands.run(
      'data.inspect', '--config=configs/folder.py', f'--config.data.path={root}/in',
      f'--config.data.dir={root}/cache', f'--out={root}/sheet.png', *more)


def test_counts_sizes_captions_and_problems(tmp_path, commands):
  made.folder(tmp_path / 'in', N)
  (tmp_path / 'in' / 'part0' / '00000.png').write_bytes(made.encoded(0, (300, 100)))
  for name in ('part1/00001.png', 'part2/00002.png'):
    (tmp_path / 'in' / name).write_bytes(b'<html>')
  (tmp_path / 'in' / 'part0' / '00003.txt').write_bytes(b'\xff')
  code, out, err = inspect(commands, tmp_path, '--config.data.size=32', '--pictures=7')
  assert code == 0, err
  lines = {line.split('  ')[0]: line.split() for line in out.splitlines()}
  assert f'folder {tmp_path}/in: 40 records' in out
  assert '3 of 40 pictures (7.5%) were bad' in out
  assert 'not a picture: 2' in out and 'caption not UTF-8: 1' in out
  for where in ('part1/00001.png', 'part2/00002.png', 'part0/00003.png'):
    assert where in out
  assert lines['width, pixels'][-7:] == ['24', '24', '24', '24', '24', '201', '300']
  assert lines['width / height'][-7::6] == ['1.50', '3.00']
  assert lines['captions a picture'][-1] == '1'
  assert 'so enlarged: 97.3%' in out      # 36 of 37 have 16 pixels
  assert 'formats: PNG 100.0%' in out and 'modes: RGB 100.0%' in out
  lengths = [len(made.caption(i)) for i in range(N) if i not in (1, 2, 3)]
  assert int(lines['characters a caption'][-1]) == max(lengths)
  assert int(lines['characters a caption'][-7]) == min(lengths)
  assert 'different captions: 37 of 37' in out
  page = np.asarray(Image.open(tmp_path / 'sheet.png').convert('RGB'))
  cell, high = 192, 192 + 5 * sheet.LINE + sheet.GAP
  good = [i for part in range(3) for i in range(N) if i % 3 == part
          and i not in (1, 2, 3)]
  for k in range(7):  # each picture is in its place
    y = 3 * sheet.GAP + k // 6 * high
    x = sheet.GAP + k % 6 * (cell + sheet.GAP)
    square = page[y:y + cell, x:x + cell]
    assert (square == made.colour(good[k * 37 // 7])).all()
    assert page[y + cell + 5:y + cell + 30, x:x + cell].min() < 100  # and its caption


def test_the_sheet_shows_crops_of_any_shape(tmp_path, commands):
  """Pictures of 24 by 16 (width, height), of which 32 by 16 are seen, six times as
  large."""
  made.folder(tmp_path / 'in', N)
  code, out, err = inspect(commands, tmp_path, '--config.data.size=(16,32)',
                           '--pictures=7')
  assert code == 0, err
  assert 'shorter than config.data.size, (16, 32), so enlarged: 100.0%' in out
  page = np.asarray(Image.open(tmp_path / 'sheet.png').convert('RGB'))
  order = [i for part in range(3) for i in range(N) if i % 3 == part]
  high, wide = 6 * 16, 6 * 32
  assert page.shape[1] == sheet.GAP + 6 * (wide + sheet.GAP)
  for k in range(7):
    y = 3 * sheet.GAP + k // 6 * (high + 5 * sheet.LINE + sheet.GAP)
    x = sheet.GAP + k % 6 * (wide + sheet.GAP)
    assert (page[y:y + high, x:x + wide] == made.colour(order[k * N // 7])).all()
    assert page[y + high + 5:y + high + 30, x:x + wide].min() < 100


def test_looks_at_some_of_many(tmp_path, commands):
  made.folder(tmp_path / 'in', N)
  code, out, _ = inspect(commands, tmp_path, '--num=9', '--pictures=2')
  assert code == 0 and 'looked at every 5th' in out and '0 of 8 pictures' in out


def test_where_nothing_is_good_it_still_reports(tmp_path, commands):
  (tmp_path / 'in').mkdir()
  (tmp_path / 'in' / 'a.jpg').write_bytes(b'')
  (tmp_path / 'in' / 'a.txt').write_bytes(b'x')
  code, out, _ = inspect(commands, tmp_path)
  assert code == 0 and 'empty file: 1' in out
  assert not (tmp_path / 'sheet.png').exists()


@pytest.mark.parametrize('flag, expected', [
    ('--out=/none/x.png', '/none'), ('--out=x.jpg', '--out=x.jpg: a name that ends in'),
    ('--num=-1', 'num'), ('--config.data.path=/none', 'which is not a folder')])
def test_a_mistake_is_one_line_and_exit_code_2(flag, expected, tmp_path, commands):
  code, _, err = inspect(commands, tmp_path, flag)
  assert code == 2 and expected in err and err.count('\n') == 1, err


@pytest.mark.parametrize(
    'text', ['two words', 'a ' * 200, 'x' * 300, '', 'a bb ' + 'c' * 99])
def test_wrapped_lines_fit_and_lose_nothing_that_fits(text):
  face = ImageFont.load_default(13)
  lines = sheet.wrapped(text, face, 100, 4)
  assert len(lines) <= 4 and all(face.getlength(line) <= 100 for line in lines)
  whole = sheet.wrapped(text, face, 100, 1000)
  assert ''.join(whole).replace(' ', '') == text.replace(' ', '')
  if len(whole) > 4:
    assert lines[:3] == whole[:3] and lines[3].endswith('…')
  else:
    assert lines == whole
