"""How a command ends, what it writes, and what it says of long work."""
import errno
import os
import sys
import types
import warnings

import pytest

from console import command, errors, files, options, progress


def ending(monkeypatch, capsys, error):
  def main(flags):
    raise error
  monkeypatch.setattr(sys, 'argv', ['train.py'])
  monkeypatch.setattr(options, 'read_flags', lambda: None)
  with pytest.raises(SystemExit) as e, warnings.catch_warnings():
    command.run(main, lambda: None)
  return e.value.code, capsys.readouterr().err


def test_what_cannot_be_written_is_about_what_the_user_named():
  for error in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
                RuntimeError('write failed: Read-only file system [/tmp/x7]'),
                OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), '/tmp/x7')):
    with pytest.raises(errors.NotWritten) as e:
      with errors.writing('--workdir=b'), errors.writing('--out=a'):
        raise error
    assert e.value.filename == '--out=a' and errors.disk_error(e.value) == e.value.errno
    assert errors.one_line(e.value).startswith('--out=a: ')
  for other in (OSError(errno.EACCES, 'no', 'x'), errors.UserError('No space left?')):
    with pytest.raises(type(other)) as e, errors.writing('--out=a'):
      raise other
    assert e.value is other


def test_a_file_that_cannot_be_written_is_named_as_it_will_be(tmp_path):
  path = str(tmp_path / 'none' / 'a.txt')
  with pytest.raises(FileNotFoundError) as e:
    files.write_text(path, 'one')
  assert e.value.filename == path


def test_what_follows_a_save_that_failed_is_left_out():
  shown = []
  for error in (RuntimeError('Event loop is closed'), RuntimeError('another')):
    command.show_crash(type(error), error, None, lambda *rest: shown.append(rest[1]))
    ignored = types.SimpleNamespace(exc_type=type(error), exc_value=error)
    command.show_ignored(ignored, lambda ignored: shown.append(ignored.exc_value))
  assert [str(error) for error in shown] == ['another', 'another']


@pytest.mark.parametrize('error', [
    OSError(errno.ENOSPC, 'No space left on device', 'metrics.jsonl'),
    RuntimeError('INTERNAL: write failed: No space left on device [/x]')])
def test_a_full_disk_is_said_in_one_line(monkeypatch, capsys, error):
  code, err = ending(monkeypatch, capsys, error)
  assert code == 2 and err.count('\n') == 1
  assert err.startswith('train.py: the disk is full')


def test_an_error_of_the_user_is_said_in_one_line(monkeypatch, capsys):
  code, err = ending(monkeypatch, capsys, errors.UserError('config.x is 3.'))
  assert (code, err) == (2, 'train.py: config.x is 3.\n')


def test_an_error_of_ours_keeps_its_traceback(monkeypatch):
  monkeypatch.setattr(options, 'read_flags', lambda: None)
  with pytest.raises(ZeroDivisionError), warnings.catch_warnings():
    command.run(lambda flags: 1 / 0, lambda: None)


def test_what_rooms_raise_is_the_users_only_where_it_is_said_to_be():
  with pytest.raises(errors.UserError, match='^a b$'), errors.user_errors():
    raise ValueError('a\n  b')
  with pytest.raises(errors.UserError, match='^x: No such file'), errors.user_errors():
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), 'x')
  with pytest.raises(KeyError), errors.user_errors():
    raise KeyError('a bug')


def test_notes_of_the_library_are_lines_of_the_command(monkeypatch, capsys):
  def main(flags):
    errors.tell('the prompt is cut.')
    warnings.warn('of another kind', stacklevel=1)
  monkeypatch.setattr(sys, 'argv', ['sample.py'])
  monkeypatch.setattr(options, 'read_flags', lambda: None)
  with warnings.catch_warnings(record=True) as seen:
    command.run(main, lambda: None)
  assert capsys.readouterr().err == 'sample.py: the prompt is cut.\n'
  assert [str(w.message) for w in seen] == ['of another kind']


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
  path = tmp_path / 'a.txt'
  files.write_text(str(path), 'one')
  with pytest.raises(UnicodeEncodeError):
    files.write_text(str(path), 'two \ud800')
  assert path.read_text() == 'one'
  assert [p.name for p in tmp_path.iterdir()] == ['a.txt']


def test_a_file_that_is_no_json_is_named(tmp_path):
  path = tmp_path / 'a.json'
  files.write_json(str(path), {'a': [1, 2]})
  assert files.read_json(str(path)) == {'a': [1, 2]}
  path.write_text('{')
  with pytest.raises(ValueError, match='a.json is not JSON'):
    files.read_json(str(path))


def test_long_work_is_told_of_every_ten_seconds_in_a_file(monkeypatch, capsys):
  now = [0.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
  report = progress.Progress(100, 'pictures')
  for second in range(1, 26):
    now[0] = float(second)
    report(4 * second)
  lines = capsys.readouterr().err.splitlines()
  assert lines == ['40/100 pictures, 4.0 a second, 0:15 left',
                   '80/100 pictures, 4.0 a second, 0:05 left']


def test_time_is_told_in_hours_minutes_and_seconds():
  assert [progress.clock(s) for s in (5, 65, 3671)] == ['0:05', '1:05', '1:01:11']
