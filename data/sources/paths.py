"""Where shards are: local paths and fsspec addresses, with braces and wildcards."""
import functools
import re

import fsspec
from fsspec.implementations import local

from data.problems import refused

BRACES = re.compile(r'\{([^{}]*)\}')
RANGE = re.compile(r'(\d+)\.\.(\d+)')
CHANGES = ('mtime', 'etag', 'ETag', 'md5Hash', 'updated', 'LastModified', 'created',
           'blob_id')


def braces(pattern: str) -> list[str]:
  """'a-{08..10}{x,y}' -> a-08x, a-08y, a-09x, ...; zeros in front are kept."""
  found = BRACES.search(pattern)
  if not found:
    return [pattern]
  choices = found[1].split(',')
  if ends := RANGE.fullmatch(found[1]):
    first, last = ends.groups()
    choices = [f'{n:0{len(first)}}' for n in range(int(first), int(last) + 1)]
  rest = braces(pattern[found.end():])
  return [pattern[:found.start()] + choice + end for choice in choices for end in rest]


@functools.lru_cache(1 << 14)  # shards that are read in turn
def system(path: str):
  """(fsspec file system, the path in it). Raises ValueError for an unknown one."""
  try:
    return fsspec.core.url_to_fs(path)
  except (ImportError, ValueError) as e:
    raise refused('path', path, f': {e}') from e


def is_local(fs) -> bool:
  """Whether files of that file system are of this machine, by the same paths."""
  return isinstance(fs, local.LocalFileSystem)


def find(pattern: str, endings: tuple[str, ...]) -> list[dict]:
  """[{'path': address, 'size': bytes, 'stamp': text that changes with the file}].

  Those that a pattern names, in its order. Raises ValueError where nothing matches, or
  a file that braces spell out is missing.

  pattern: a path or address; {000..123}, {a,b}, * and ? are expanded, a folder stands
    for all in it with one of `endings`.
  """
  if not pattern:
    raise ValueError('config.data.path is empty; it must name the files to read, such '
                     f'as shards/{{000..123}}{endings[0]}.')
  found, lists = [], {}
  for spelt in braces(pattern):
    fs, path = system(spelt)
    try:
      if any(sign in path for sign in '*?['):
        here = {k: v for k, v in fs.glob(path, detail=True).items() if not is_junk(k)}
      else:
        parent = fs._parent(path)
        if (fs, parent) not in lists:  # one request a folder, not one a file
          lists[fs, parent] = {x['name']: x for x in fs.ls(parent, detail=True)}
        here = {path: lists[fs, parent].get(path) or fs.info(path)}
        if here[path]['type'] == 'directory':
          here = {x['name']: x for x in fs.ls(path, detail=True)
                  if x['name'].endswith(endings) and not is_junk(x['name'])}
      found += [(fs, here[name]) for name in sorted(here)]
    except FileNotFoundError:
      raise refused('path', pattern,
                    f': there is no {fs.unstrip_protocol(path)}.') from None
    except Exception as e:  # of a store: no such bucket, no right to read it
      raise refused('path', pattern, f': {type(e).__name__}: {e}') from e
  files = [described(fs, info) for fs, info in found if info['type'] == 'file']
  if not files:
    raise refused('path', pattern, f', which matches no file ({" ".join(endings)}).')
  return files


def described(fs, info: dict) -> dict:
  local = isinstance(fs, fsspec.implementations.local.LocalFileSystem)
  return {'path': info['name'] if local else fs.unstrip_protocol(info['name']),
          'size': info['size'],
          'stamp': str(next((info[k] for k in CHANGES if k in info), ''))}


def is_junk(path: str) -> bool:
  """Whether a file or folder is hidden, or one that macOS leaves beside others."""
  parts = path.split('/')
  return parts[-1].startswith('.') or '__MACOSX' in parts
