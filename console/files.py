"""Files that are written whole or not at all."""
import contextlib
import json
import os

from console.errors import writing


@contextlib.contextmanager
def atomic_write(path: str):
  """Yields another name to write to; what is there becomes `path`, if all went well.

  An error of writing is about `path`.
  """
  new = f'{path}.{os.getpid()}.new'
  try:
    with writing(path):
      yield new
    os.replace(new, path)
  except OSError as e:
    e.filename = path if e.filename == new else e.filename
    raise
  finally:
    if os.path.exists(new):
      os.remove(new)


def write_text(path: str, text: str):
  """Writes a UTF-8 file whole or not at all."""
  with atomic_write(path) as new, open(new, 'w', encoding='utf-8') as f:
    f.write(text)


def write_json(path: str, value):
  """Writes what JSON can hold, whole or not at all."""
  write_text(path, json.dumps(value, indent=2) + '\n')


def read_json(path: str):
  """What a JSON file holds. Raises ValueError, with the path, where it is none."""
  with open(path, encoding='utf-8') as f:
    try:
      return json.load(f)
    except ValueError as e:
      raise ValueError(f'{path} is not JSON: {e}') from e


def check_new_file(path: str, flag: str, ending: str):
  """Raises ValueError unless a file of that ending can be written at `path`."""
  folder = os.path.dirname(path) or '.'
  if not path.endswith(ending):
    raise ValueError(f'--{flag}={path}: a name that ends in {ending} is needed.')
  if not os.path.isdir(folder):
    raise ValueError(f'--{flag}={path}: there is no folder {folder!r}.')
