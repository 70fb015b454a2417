"""What the scripts share: flags, workdirs, and how a mistake of the user ends."""
import contextlib
import difflib
import errno
import json
import os
import sys

# Set before jax starts its devices: XLA's notes are not the user's business.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from absl import flags
from absl import logging
import jax
from ml_collections import ConfigDict

from configs import base

COMPILED = os.path.join(os.path.dirname(os.path.abspath(__file__)), '.cache', 'jax')


class Mistake(Exception):
  """The user's: one line on stderr and exit code 2, no traceback."""


@contextlib.contextmanager
def mistakes():
  """Around what reads the user's wishes: an error there is a mistake of theirs."""
  try:
    yield
  except (ValueError, OSError) as e:
    raise Mistake(one_line(e)) from e


def one_line(e: Exception) -> str:
  if isinstance(e, OSError) and e.filename and e.strerror:
    return f'{e.filename}: {e.strerror}.'
  return ' '.join(str(e).split())


def run(main, define):
  """Runs a script: define() its flags, read them, main(flags)."""
  define()
  try:
    read_flags()
    logging.set_verbosity(logging.FATAL)  # the libraries' own chatter
    jax.config.update('jax_compilation_cache_dir', COMPILED)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
    main(flags.FLAGS)
  except Mistake as e:
    fail(str(e))
  except Exception as e:
    if not disk_full(e):
      raise
    fail(f'the disk is full: {one_line(e)}')
  except KeyboardInterrupt:
    sys.exit(130)


def disk_full(e: BaseException | None) -> bool:
  """Whether an error, or what caused it, is a full disk, as any library words it."""
  return e is not None and (getattr(e, 'errno', None) == errno.ENOSPC
                            or os.strerror(errno.ENOSPC) in str(e)
                            or disk_full(e.__cause__ or e.__context__))


def fail(line: str):
  sys.stdout.flush()
  note(line)
  sys.exit(2)


def note(line: str):
  """Says something on stderr and goes on."""
  print(f'{os.path.basename(sys.argv[0])}: {line}', file=sys.stderr, flush=True)


def read_flags():
  """Parses the command line. Raises Mistake for anything wrong with it."""
  try:
    rest = flags.FLAGS(sys.argv)[1:]
  except (AttributeError, KeyError):
    raise Mistake(unknown_key(sys.argv)) from None
  except Exception as e:  # a config file is Python: it can fail in any way
    text = one_line(e)
    if isinstance(e, flags.UnrecognizedFlagError) and '--config' not in ' '.join(
        a.split('=')[0] for a in sys.argv) and 'config.' in text:
      text = 'keys of a config need --config=FILE before them.'
    if 'No such file' in text:
      path = next(a for a in sys.argv if a.startswith('--config=')).partition('=')[2]
      text = f'--config={path}: there is no such file.'
    raise Mistake(text) from e
  if rest:
    raise Mistake(f'{rest[0]!r} is not a flag; flags are written --name=value.')


def unknown_key(argv) -> str:
  """Names the first --config.key of a command line that no config has."""
  for word in argv:
    if not word.startswith('--config.'):
      continue
    at, node = 'config', base.get_config()
    for name in word.partition('=')[0].removeprefix('--config.').split('.'):
      if not isinstance(node, ConfigDict) or name not in node:
        there = sorted(node) if isinstance(node, ConfigDict) else []
        near = difflib.get_close_matches(name, there, 1)
        return (f'{at} has no key {name!r}; ' + (f'did you mean {near[0]!r}? ' if near
                else '') + f'It has {there}.')
      at, node = f'{at}.{name}', node[name]
  path = next((a for a in argv if a.startswith('--config=')), '--config')
  return f'{path}: the file has no function get_config(), or that failed.'


def define_workdir():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')


def workdir_config(workdir: str | None):
  """The config of the run in a workdir. Raises Mistake if there is none."""
  if not workdir:
    raise Mistake('--workdir=FOLDER is needed: the folder of a run.')
  if not os.path.isdir(workdir):
    raise Mistake(f'--workdir={workdir}: there is no such folder.')
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    raise Mistake(f'--workdir={workdir}: the folder holds no run (no config.json); '
                  'train.py makes one.')
  try:
    with open(path, encoding='utf-8') as f:
      return thaw(json.load(f))
  except ValueError as e:
    raise Mistake(f'{path} is not a config: {one_line(e)}') from e


def thaw(value):
  """What JSON made of a config -> the config: lists become tuples again."""
  if isinstance(value, dict):
    return ConfigDict({k: thaw(v) for k, v in value.items()})
  return tuple(map(thaw, value)) if isinstance(value, list) else value


def plain(value):
  """A config -> what JSON makes of it, to write and to compare."""
  return json.loads(value.to_json())


def write_text(path: str, text: str):
  """Writes a file whole or not at all."""
  with open(path + '.new', 'w', encoding='utf-8') as f:
    f.write(text)
  os.replace(path + '.new', path)
