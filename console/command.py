"""Running a command: its flags, its help, and how it ends."""
import contextlib
import errno
import os
import sys
import warnings

# Set before jax starts its devices: XLA's notes are not the user's business.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from absl import flags
from absl import logging

from console import options
from console.errors import UserError, UserNote, disk_error, one_line

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMPILED = os.path.join(*(  # programs: of a checkout; else of a user
    [ROOT, '.cache'] if os.path.exists(os.path.join(ROOT, 'requirements.txt')) else
    [os.path.expanduser('~'), '.cache', 'text-to-image']), 'jax')


def run(main, define, end=sys.exit, words=False):
  """Runs a command: define() its flags, read them, main(flags).

  words: main takes those of the command line that are no flags, too; others have none.
  end: what ends the process where something went wrong; os._exit for one whose workers
    would be waited for.
  """
  others = set(flags.FLAGS)
  try:
    define()
  except AttributeError as e:  # of --sample.KEY, which is looked up at once
    fail(options.unknown_key(sys.argv) or one_line(e))
  if '--help' in sys.argv:
    print(sys.modules[define.__module__].__doc__)
    for name in sorted(set(flags.FLAGS) - others):
      print(f'  --{name}: {flags.FLAGS[name].help}')
    sys.exit(0)
  with exit_codes(end):
    warnings.simplefilter('always', UserNote)
    warnings.showwarning = show_warning
    warnings.filterwarnings('ignore', 'Error writing persistent compilation cache')
    sys.excepthook, sys.unraisablehook = show_crash, show_ignored
    rest = options.read_flags()
    if rest and not words:
      raise UserError(f'{rest[0]!r} is not a flag; flags are written --name=value.')
    logging.set_verbosity(logging.FATAL)  # the libraries' own chatter
    if jax := sys.modules.get('jax'):  # only of commands that have imported it
      jax.config.update('jax_compilation_cache_dir', COMPILED)
      jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
    main(flags.FLAGS, rest) if words else main(flags.FLAGS)


def show_warning(message, category, *where, show=warnings.showwarning):
  """A UserNote is a line on stderr; any other warning is shown as ever."""
  if issubclass(category, UserNote):
    note(one_line(message))
  else:
    show(message, category, *where)


def show_crash(kind, error, trace, show=sys.excepthook):
  """As ever, but for what threads of TensorStore add to a save that has failed."""
  if not of_closed_loop(kind, error):
    show(kind, error, trace)


def show_ignored(ignored, show=sys.unraisablehook):
  """The same, of what nobody can catch."""
  if not of_closed_loop(ignored.exc_type, ignored.exc_value):
    show(ignored)


def of_closed_loop(kind, error) -> bool:
  return kind is RuntimeError and str(error) == 'Event loop is closed'


@contextlib.contextmanager
def exit_codes(end=sys.exit):
  """Around a command's work: an error of the user ends it with a line and code 2."""
  try:
    yield
  except UserError as e:
    fail(str(e), end)
  except Exception as e:
    if code := disk_error(e):
      full = 'the disk is full: ' * (code == errno.ENOSPC)
      fail(full + one_line(e), end)
    if isinstance(e, OSError) and e.filename:
      fail(one_line(e), end)
    raise
  except KeyboardInterrupt:
    end(130)


def fail(line: str, end=sys.exit):
  """Says what is wrong, on stderr, and ends with code 2."""
  sys.stdout.flush()
  note(line)
  end(2)


def note(line: str):
  """Says something on stderr and goes on."""
  print(f'{command_name()}: {line}', file=sys.stderr, flush=True)


def command_name() -> str:
  """'train.py', or 'data.inspect' of what is run with python -m."""
  folder, name = os.path.split(sys.argv[0])
  if (room := os.path.basename(folder)) in ('data', 'interop'):
    return f'{room}.{name.removesuffix(".py")}'
  return name
