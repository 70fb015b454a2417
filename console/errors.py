"""Errors of the user, and how they become one line."""
import contextlib
import errno
import os
import warnings

DISK = errno.ENOSPC, errno.EDQUOT, errno.EROFS  # errors of writing alone


class UserError(Exception):
  """A mistake of the user: it ends a command with one line and exit code 2."""


class UserNote(UserWarning):
  """What a user should know of what went on all the same; commands say it in a line."""


def tell(line: str):
  """Warns with a UserNote: rooms print nothing themselves."""
  warnings.warn(line, UserNote, stacklevel=3)


@contextlib.contextmanager
def user_errors():
  """Makes ValueError and OSError, as the rooms raise them, errors of the user."""
  try:
    yield
  except (ValueError, OSError) as e:
    raise UserError(one_line(e)) from e


class NotWritten(OSError):
  """A disk that is full, or may only be read: `filename` is what the user named."""


@contextlib.contextmanager
def writing(place: str):
  """Around what writes to a place that the user named, such as '--out=a.png'.

  Raises NotWritten about it for a disk that takes nothing, as any library words that;
  of several around each other the innermost tells.
  """
  try:
    yield
  except (UserError, NotWritten):
    raise
  except Exception as e:
    if code := disk_error(e):
      raise NotWritten(code, os.strerror(code), place) from e
    raise


def one_line(e: BaseException) -> str:
  """What an error says, in one line, with the file that it is about."""
  if isinstance(e, OSError) and e.filename and e.strerror:
    return f'{e.filename}: {e.strerror}.'
  return ' '.join(str(e).split()) or type(e).__name__


def disk_error(e: BaseException | None) -> int:
  """Which of DISK an error, or what caused it, is, as any library words it; else 0."""
  if e is None:
    return 0
  for code in DISK:
    if getattr(e, 'errno', None) == code or os.strerror(code) in str(e):
      return code
  return disk_error(e.__cause__ or e.__context__)
