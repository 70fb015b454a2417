"""Where shards are: local paths and fsspec addresses, with braces and wildcards."""
import os
import re

import fsspec

BRACES = re.compile(r'\{([^{}]*)\}')
RANGE = re.compile(r'(\d+)\.\.(\d+)')


def braces(pattern: str) -> list[str]:
  """'a-{08..10}{x,y}' -> a-08x, a-08y, a-09x, ...; zeros in front are kept."""
  found = BRACES.search(pattern)
  if not found:
    return [pattern]
  if ends := RANGE.fullmatch(found[1]):
    first, last = ends.groups()
    choices = [f'{n:0{len(first)}}' for n in range(int(first), int(last) + 1)]
  else:
    choices = found[1].split(',')
  rest = braces(pattern[found.end():])
  return [pattern[:found.start()] + choice + end for choice in choices for end in rest]


def system(path: str):
  """(fsspec file system, the path in it). Raises ValueError for an unknown one."""
  try:
    return fsspec.core.url_to_fs(path)
  except (ImportError, ValueError) as e:
    raise ValueError(f'config.data.path is {path!r}: {e}') from e


def find(pattern: str, endings: tuple[str, ...]) -> list[dict]:
  """The files that a pattern names, in its order.

  Args:
    pattern: a path or address; {000..123}, {a,b}, * and ? are expanded, a folder
      stands for all in it with one of `endings`.

  Returns:
    [{'path': address, 'size': bytes, 'stamp': text that changes with the file}].

  Raises:
    ValueError: nothing matches, or a file that braces spell out is missing.
  """
  if not pattern:
    raise ValueError('config.data.path is empty; it must name the files to read, such '
                     f'as shards/{{000..123}}{endings[0]}.')
  found, lists = [], {}
  for spelt in braces(pattern):
    fs, path = system(spelt)
    try:
      if any(sign in path for sign in '*?['):
        found += [(fs, info) for at, info in sorted(fs.glob(path, detail=True).items())
                  if not is_junk(at)]
        continue
      parent = fs._parent(path)
      if (fs, parent) not in lists:  # one request a folder, not one a file
        lists[fs, parent] = {x['name']: x for x in fs.ls(parent, detail=True)}
      info = lists[fs, parent].get(path) or fs.info(path)
      if info['type'] == 'directory':
        found += [(fs, x) for x in sorted(fs.ls(path, detail=True), key=str_name)
                  if x['name'].endswith(endings) and not is_junk(x['name'])]
      else:
        found.append((fs, info))
    except FileNotFoundError:
      raise ValueError(f'config.data.path is {pattern!r}: there is no '
                       f'{fs.unstrip_protocol(path)}.') from None
    except Exception as e:  # of a store: no such bucket, no right to read it
      raise ValueError(f'config.data.path is {pattern!r}: {type(e).__name__}: {e}'
                       ) from e
  files = [(fs, info) for fs, info in found if info['type'] == 'file']
  if not files:
    raise ValueError(f'config.data.path is {pattern!r}, which matches no file '
                     f'({" ".join(endings)}).')
  return [described(fs, info) for fs, info in files]


def str_name(info: dict) -> str:
  return info['name']


def described(fs, info: dict) -> dict:
  local = isinstance(fs, fsspec.implementations.local.LocalFileSystem)
  changed = next((info[k] for k in ('mtime', 'etag', 'ETag', 'md5Hash', 'updated',
                                    'LastModified', 'created') if k in info), '')
  return {'path': info['name'] if local else fs.unstrip_protocol(info['name']),
          'size': info['size'], 'stamp': str(changed)}


def is_junk(path: str) -> bool:
  """Whether a file or folder is hidden, or one that macOS leaves beside others."""
  parts = path.split('/')
  return parts[-1].startswith('.') or '__MACOSX' in parts


def name(path: str) -> str:
  """The last part of a path or address."""
  return os.path.basename(path.rstrip('/'))
