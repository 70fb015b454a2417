"""train.py on a folder of a user's own, from the command line."""
import shutil

from PIL import Image
import pytest

from helpers.commands import logged, train


@pytest.fixture(scope='module')
def folder(root):
  """Sixty pictures and four that are none."""
  (root / 'mine').mkdir()
  for i in range(64):
    picture = Image.new('RGB', (20, 16), (4 * i, 0, 0))
    picture.save(root / 'mine' / f'{i}.png')
    (root / 'mine' / f'{i}.txt').write_text(f'a number {i}')
  for i in range(4):
    (root / 'mine' / f'{i}.png').write_text('<html>')
  return (f'--config.data.path={root}/mine', '--config.data.source=folder',
          '--config.train.steps=40')


def test_trains_on_a_folder_and_counts_what_is_bad(root, folder, commands):
  code, out, err = commands.run(*train(root, 'mine_run', 'unet'), *folder)
  assert code == 0 and '64 pictures' in out, err
  lines = logged(root / 'mine_run')  # 40 batches of 8 are five epochs
  assert sum(line['bad'] for line in lines) == 4 * 5
  assert '20 of 320 pictures (6.2%) were bad: 20 not a picture' in out


def test_too_many_bad_pictures_stop_the_run(root, folder, commands):
  code, out, err = commands.run(*train(root, 'mine_bad'), *folder,
                               '--config.data.max_bad=0.01')
  assert code == 2 and 'config.data.max_bad is 0.01' in err, err
  assert 'not a picture' in err and err.count('\n') == 1


def test_data_that_changed_are_refused_and_moved_ones_are_not(root, folder, commands):
  moved = root / 'elsewhere'
  shutil.copytree(root / 'mine', moved)
  more = (f'--config.data.path={moved}', '--config.train.steps=60',
          '--config.train.sample_every=0')
  code, out, err = commands.run(*train(root, 'mine_run', 'unet'), *folder, *more)
  assert code == 0 and 'resumed at step 40' in out, err
  (moved / 'new.png').write_bytes((moved / '9.png').read_bytes())
  code, out, err = commands.run(*train(root, 'mine_run', 'unet'), *folder, *more,
                               '--config.train.steps=80')
  assert code == 2 and 'its records have changed' in err and err.count('\n') == 1
