"""Pictures of one channel, from the command line."""
import numpy as np
from PIL import Image
import pytest

from helpers.commands import train


OTHERS = {1: ('RGB', (12, 0, 40)), 2: ('RGBA', (9, 9, 9, 24))}


@pytest.fixture(scope='module')
def run(root, commands):
  """A run on grey pictures, two of them with colours, one with transparency."""
  (root / 'grey').mkdir()
  for i in range(16):
    mode, colour = OTHERS.get(i, ('L', 12 * i))
    Image.new(mode, (20, 16), colour).save(root / 'grey' / f'{i}.png')
    (root / 'grey' / f'{i}.txt').write_text(f'a number {i}')
  code, out, err = commands.run(
      *train(root, 'grey_run'), f'--config.data.path={root}/grey',
      '--config.data.channels=1', '--config.data.source=folder',
      '--config.train.steps=20', '--config.train.sample_every=20')
  assert code == 0, err
  return root / 'grey_run'


def test_a_run_trains_and_previews(run):
  with Image.open(run / 'samples' / '20.png') as sheet:
    pixels = np.asarray(sheet)
  assert pixels.shape[-1] == 3 and (pixels[..., :1] == pixels).all()


def test_pictures_are_grey(root, run, commands):
  code, _, err = commands.run('sample.py', f'--workdir={run}', '--prompt=a number 3',
                              f'--out={root}/grey.png', f'--film={root}/grey.gif')
  assert code == 0, err
  with Image.open(root / 'grey.png') as picture:
    assert picture.mode == 'L' and picture.size == (16, 16)
  with Image.open(root / 'grey.gif') as film:
    assert film.n_frames > 1  # those that are alike are one


def test_pictures_are_edited_as_grey(root, run, commands):
  """Of a picture with colours, the half that is kept is its grey."""
  Image.new('RGB', (16, 16), (200, 40, 90)).save(root / 'colours.png')
  mask = Image.new('RGB', (16, 16))
  mask.paste((255, 255, 255), (8, 0, 16, 16))
  mask.save(root / 'right.png')
  code, _, err = commands.run(
      'sample.py', f'--workdir={run}', '--prompt=a number 3',
      f'--out={root}/edited.png', f'--image={root}/colours.png',
      f'--mask={root}/right.png')
  assert code == 0, err
  with Image.open(root / 'edited.png') as picture:
    left = np.asarray(picture)[:, :8].astype(int)
  assert abs(left - (0.299 * 200 + 0.587 * 40 + 0.114 * 90)).max() <= 1.5


def test_channels_are_one_or_three_and_stay(root, run, commands):
  more = (f'--config.data.path={root}/grey', '--config.data.source=folder',
          '--config.train.steps=20')
  code, _, err = commands.run(*train(root, 'grey_run'), *more)
  assert code == 2 and 'another config.data.channels' in err, err
  code, _, err = commands.run(*train(root, 'none'), '--config.data.channels=4')
  assert code == 2 and 'config.data.channels is 4; it must be 1, grey, or 3' in err
  code, _, err = commands.run(*train(root, 'none'), '--config.data.channels=1',
                              '--config.train.eval_every=10')
  assert code == 2 and 'config.data.channels is 1; prompt_accuracy' in err, err


def test_the_contact_sheet_is_grey(root, run, commands):
  code, out, err = commands.run(
      'data.inspect', f'--config={root}/tiny.py', f'--config.data.path={root}/grey',
      '--config.data.source=folder', '--config.data.channels=1',
      f'--out={root}/grey_sheet.png')
  assert code == 0 and 'modes: L 87.5%' in out, out + err
  page = np.asarray(Image.open(root / 'grey_sheet.png')).astype(int)
  assert (page.max(-1) - page.min(-1)).max() == 0
