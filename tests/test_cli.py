"""How a script ends."""
import errno
import pathlib
import sys

import pytest

import cli
from configs import base


def ending(monkeypatch, capsys, error):
  def main(flags):
    raise error
  monkeypatch.setattr(sys, 'argv', ['train.py'])
  monkeypatch.setattr(cli, 'read_flags', lambda: None)
  with pytest.raises(SystemExit) as e:
    cli.run(main, lambda: None)
  return e.value.code, capsys.readouterr().err


@pytest.mark.parametrize('error', [
    OSError(errno.ENOSPC, 'No space left on device', 'metrics.jsonl'),
    RuntimeError('INTERNAL: write failed: No space left on device [/x]')])
def test_a_full_disk_is_said_in_one_line(monkeypatch, capsys, error):
  code, err = ending(monkeypatch, capsys, error)
  assert code == 2 and err.count('\n') == 1
  assert err.startswith('train.py: the disk is full')


def test_a_mistake_is_said_in_one_line(monkeypatch, capsys):
  code, err = ending(monkeypatch, capsys, cli.Mistake('config.x is 3.'))
  assert (code, err) == (2, 'train.py: config.x is 3.\n')


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
  with pytest.raises(ZeroDivisionError):
    monkeypatch.setattr(cli, 'read_flags', lambda: None)
    cli.run(lambda flags: 1 / 0, lambda: None)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'a.txt'
  cli.write_text(str(path), 'one')
  with pytest.raises(UnicodeEncodeError):
    cli.write_text(str(path), 'two \ud800')
  assert path.read_text() == 'one'
  assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def test_the_shipped_weights_have_every_key():
  """A new key of configs/base.py goes into their config, too."""
  folder = pathlib.Path(__file__).parent.parent / 'weights' / 'shapes'
  base.check(cli.workdir_config(str(folder)))
