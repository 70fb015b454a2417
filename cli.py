"""What the scripts share: flags, workdirs, and how a mistake of the user ends."""
import contextlib
import difflib
import errno
import json
import os
import sys
import time

# Set before jax starts its devices: XLA's notes are not the user's business.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from absl import flags
from absl import logging
import jax
from ml_collections import ConfigDict, config_flags

from configs import base
from training.log import clock

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
  others = set(flags.FLAGS)
  try:
    define()
  except AttributeError as e:  # of --sample.KEY, which is looked up at once
    fail(unknown_key(sys.argv) or one_line(e))
  if '--help' in sys.argv:
    print(sys.modules[define.__module__].__doc__)
    for name in sorted(set(flags.FLAGS) - others):
      print(f'  --{name}: {flags.FLAGS[name].help}')
    sys.exit(0)
  with endings():
    read_flags()
    logging.set_verbosity(logging.FATAL)  # the libraries' own chatter
    jax.config.update('jax_compilation_cache_dir', COMPILED)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)
    main(flags.FLAGS)


@contextlib.contextmanager
def endings():
  """Around a script's work: a mistake of the user ends it with a line and code 2."""
  try:
    yield
  except Mistake as e:
    fail(str(e))
  except Exception as e:
    if disk_full(e):
      fail(f'the disk is full: {one_line(e)}')
    if isinstance(e, OSError) and e.filename:
      fail(one_line(e))
    raise
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
  if 'config' in flags.FLAGS and (wrong := unknown_key(sys.argv)):
    raise Mistake(wrong)
  try:
    rest = flags.FLAGS(sys.argv)[1:]
    if 'config' in flags.FLAGS:
      flags.FLAGS.config and flags.FLAGS.config.lock  # noqa: B018  raises if unread
  except Exception as e:  # a config file is Python: it can fail in any way
    text = one_line(e)
    if isinstance(e, flags.UnrecognizedFlagError) and "'config." in text:
      text = 'keys of a config need --config=FILE before them.'
    elif 'failure to load' in text and 'No such file' in text:
      text = f'{config_flag()}: there is no such file.'
    elif 'Traceback' in text:  # of which the last line says what is wrong
      text = f'{config_flag()}: {str(e).strip().splitlines()[-1]}'
    elif not isinstance(e, flags.Error):
      text = f'{config_flag()}: {type(e).__name__}: {text}'
    raise Mistake(text) from e
  if rest:
    raise Mistake(f'{rest[0]!r} is not a flag; flags are written --name=value.')


def define_config():
  """--config=FILE, and --config.KEY=VALUE for any key or field of a module."""
  config_flags.DEFINE_config_file('config', None, 'A file of configs/.',
                                  lock_config=False, accept_new_attributes=True)


def define_sample_flags():
  """Flags that stand for keys of config.sample; --sample.KEY=VALUE does for any."""
  flags.DEFINE_integer('steps', None, 'Of the solver; default: config.', lower_bound=1)
  flags.DEFINE_float('guidance', None, '1 is the prompt alone; default: config.')
  flags.DEFINE_string('solver', None, 'Default: config.')
  flags.DEFINE_integer('batch', None, 'Pictures drawn at once.', lower_bound=1)
  config_flags.DEFINE_config_dict('sample', base.get_config().sample,
                                  'Any key of it: --sample.grid=karras.')


def settle_sample(c, flag, **defaults):
  """Puts what those flags say into config.sample, over `defaults`."""
  short = {k: flag[k].value for k in ('steps', 'guidance', 'solver', 'batch')}
  given = {k: v for k, v in short.items() if v is not None}
  c.sample.update(defaults | config_flags.get_override_values(flag['sample']) | given)
  with mistakes():
    base.check(c)


def config_flag() -> str:
  """The --config=FILE of the command line, for a message."""
  words = [w for w in sys.argv if w.partition('=')[0] == '--config']
  return words[0] if words and '=' in words[0] else '--config'


def unknown_key(argv) -> str | None:
  """Names the first --config.key of a command line that no config has, if any.

  --sample.key is short for --config.sample.key. Fields of modules are not looked at.
  """
  for word in argv:
    word = word.replace('--sample.', '--config.sample.', 1)
    if not word.startswith('--config.'):
      continue
    at, node = 'config', base.get_config()
    for name in word.partition('=')[0].removeprefix('--config.').split('.'):
      if at in base.MODULES:
        break
      if not isinstance(node, ConfigDict) or name not in node:
        there = sorted(node) if isinstance(node, ConfigDict) else []
        near = difflib.get_close_matches(name, there, 1)
        return (f'{at} has no key {name!r}' + (f'; did you mean {near[0]!r}?' if near
                else '.') + f' It has {there}.')
      at, node = f'{at}.{name}', node[name]
  return None


def workdir_config(workdir: str | None, flag: str = 'workdir'):
  """The config of the run in a workdir. Raises Mistake if there is none."""
  if not workdir:
    raise Mistake(f'--{flag}=FOLDER is needed: the folder of a run.')
  if not os.path.isdir(workdir):
    raise Mistake(f'--{flag}={workdir}: there is no such folder.')
  path = os.path.join(workdir, 'config.json')
  if not os.path.exists(path):
    raise Mistake(f'--{flag}={workdir}: the folder holds no run (no config.json); '
                  'train.py makes one.')
  try:
    with open(path, encoding='utf-8') as f:
      config = thaw(json.load(f))
    base.check(config)
  except ValueError as e:
    raise Mistake(f'{path} is not a config: {one_line(e)}') from e
  return config


def thaw(value):
  """What JSON made of a config -> the config: lists become tuples again."""
  if isinstance(value, dict):
    return ConfigDict({k: thaw(v) for k, v in value.items()})
  return tuple(map(thaw, value)) if isinstance(value, list) else value


def plain(value):
  """A config -> what JSON makes of it, to write and to compare."""
  return json.loads(value.to_json())


@contextlib.contextmanager
def whole(path: str):
  """Yields another name to write to; what is there becomes `path`, if all went well."""
  try:
    yield path + '.new'
    os.replace(path + '.new', path)
  finally:
    with contextlib.suppress(FileNotFoundError):
      os.remove(path + '.new')


def write_text(path: str, text: str):
  """Writes a file whole or not at all."""
  with whole(path) as new, open(new, 'w', encoding='utf-8') as f:
    f.write(text)


class Progress:
  """A line on stderr about long work: rewritten on a terminal, printed now and then."""

  def __init__(self, total: int, what: str):
    self.total, self.what, self.start = total, what, time.monotonic()
    self.said = self.start

  def __call__(self, done: int):
    now, last = time.monotonic(), done >= self.total
    terminal = sys.stderr.isatty()
    if not terminal and now - self.said < 10:
      return
    rate = done / max(now - self.start, 1e-9)
    text = (f'{done}/{self.total} {self.what}, {rate:.1f} a second, '
            f'{clock((self.total - done) / rate)} left')
    print(f'\r\033[K{text}' if terminal else text, file=sys.stderr,
          end='\n' if last or not terminal else '', flush=True)
    self.said = now
