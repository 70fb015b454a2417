"""Errors of the user, and how they become one line."""
import contextlib
import errno
import os
import warnings


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


def one_line(e: BaseException) -> str:
  """What an error says, in one line, with the file that it is about."""
  if isinstance(e, OSError) and e.filename and e.strerror:
    return f'{e.filename}: {e.strerror}.'
  return ' '.join(str(e).split()) or type(e).__name__


def disk_full(e: BaseException | None) -> bool:
  """Whether an error, or what caused it, is a full disk, as any library words it."""
  return e is not None and (getattr(e, 'errno', None) == errno.ENOSPC
                            or os.strerror(errno.ENOSPC) in str(e)
                            or disk_full(e.__cause__ or e.__context__))
