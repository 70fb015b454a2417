"""Flags that several commands have: --config, --sample.KEY, and reading them all."""
import difflib
import sys

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import base, validation
from console.errors import UserError, one_line, tell, user_errors

MODEL = ('workdir', 'weights', 'variant', 'base', 'dtype', 'embedding', 'lora')
SHORT = ('steps', 'guidance', 'solver', 'batch')  # flags that stand for config.sample's


def define_config():
  """--config=FILE, and --config.KEY=VALUE for any key or field of a module."""
  config_flags.DEFINE_config_file(
      'config', None, 'A file of configs/. --config.KEY=VALUE sets any key of it.',
      lock_config=False, accept_new_attributes=True)


def define_model():
  """Flags that name what is drawn with: MODEL, read by inference.chosen."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('weights', None, 'Folder of a public pipeline, its name on the '
                      'Hugging Face hub, or a file of it, in place of a run.')
  flags.DEFINE_string('variant', None, 'Of --weights: which files, as fp16 of '
                      'model.fp16.safetensors.')
  flags.DEFINE_string('base', None, 'Of --weights=FILE: the pipeline, a folder or a '
                      'name, whose tokenizers, scheduler and other parts it takes.')
  flags.DEFINE_enum('dtype', None, ['float32', 'bfloat16'], 'Of --weights: of the '
                    'parameters; by default bfloat16 but on a CPU.')
  flags.DEFINE_multi_string('embedding', [], 'File of tokens learned by textual '
                            'inversion; may be given many times.')
  flags.DEFINE_multi_string('lora', [], 'FILE or FILE:WEIGHT of adapters (LoRA); may '
                            'be given many times.')


def define_sample():
  """Flags that stand for keys of config.sample; --sample.KEY=VALUE does for any."""
  flags.DEFINE_integer('steps', None, 'Number of steps of the solver; by default that '
                       'of the config.', lower_bound=1)
  flags.DEFINE_float('guidance', None, 'Scale of guidance; 1 follows the prompt alone. '
                     'By default that of the config.')
  flags.DEFINE_string('solver', None, 'Solver, of docs/solvers.md; by default that of '
                      'the config.')
  flags.DEFINE_integer('batch', None, 'Number of pictures drawn at once.',
                       lower_bound=1)
  config_flags.DEFINE_config_dict('sample', base.get_config().sample,
                                  'Any key of config.sample: --sample.rule=apg.')


def define_hosts():
  """Flags of a command that many hosts can run together."""
  flags.DEFINE_bool('distributed', False, 'Whether this process is one of many hosts: '
                    'jax.distributed finds the others.')
  flags.DEFINE_string('coordinator', None, 'HOST:PORT of the first of many hosts, '
                      'where jax cannot find out, with --processes and --process.')
  flags.DEFINE_integer('processes', None, 'Number of processes.', lower_bound=1)
  flags.DEFINE_integer('process', None, 'Index of this process, from 0.', lower_bound=0)


def join_hosts(flag, join):
  """Calls join(coordinator, processes, process), where the flags ask for it."""
  given = flag.coordinator, flag.processes, flag.process
  if flag.distributed:
    with user_errors():
      join(*given)
  elif any(value is not None for value in given):
    raise UserError('--coordinator, --processes and --process need --distributed.')


def split_commas(text: str) -> list[str]:
  """'kid(subsets=10, size=50),fid' -> two: commas within brackets divide nothing."""
  parts, depth = [''], 0
  for letter in text:
    depth += (letter in '([') - (letter in ')]')
    if letter == ',' and not depth:
      parts.append('')
    else:
      parts[-1] += letter
  return [part.strip() for part in parts if part.strip()]


def picture_size(flag, c) -> tuple[int, int]:
  """(height, width) by the flags of those names; else those of training."""
  height, width = base.height_width(c.data.size)
  return flag.height or height, flag.width or width


def resolve_sample(c, flag, **defaults):
  """Puts what those flags say into config.sample, over `defaults`."""
  short = {k: flag[k].value for k in SHORT}
  given = {k: v for k, v in short.items() if v is not None}
  c.sample.update(defaults | config_flags.get_override_values(flag['sample']) | given)
  with user_errors():
    validation.check(c)


def read_flags() -> list[str]:
  """Parses the command line; returns its words that are no flags.

  Raises UserError for anything wrong with it.
  """
  if 'config' in flags.FLAGS and (wrong := unknown_key(sys.argv)):
    raise UserError(wrong)
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
    raise UserError(text) from e
  if 'config' in flags.FLAGS and flags.FLAGS.config:
    drop_old_fields(flags.FLAGS.config)
  return rest


def drop_old_fields(c):
  """Where a flag chooses another module, its fields have its own defaults.

  What the config had set for the module of its own is dropped, and told in a line; the
  dtype stays. --config.model="{'name': 'dit'}" replaces a part as a whole.
  """
  given = config_flags.get_override_values(flags.FLAGS['config'])
  chosen = [key for key in base.MODULE_KEYS if f'{key}.name' in given]
  if not chosen:
    return
  file = flags.FlagValues()
  config_flags.DEFINE_config_file('config', None, '', flag_values=file, sys_argv=[])
  file([sys.argv[0], config_flag()])
  for key in chosen:
    old, new = file.config[key], c[key]
    dropped = [field for field in old if field not in ('name', 'dtype')
               and f'{key}.{field}' not in given]
    if new.name == old.name or not dropped:
      continue
    for field in dropped:
      del new[field]
    tell(f'config.{key}.name is {new.name!r}, no longer {old.name!r}: dropped what was '
         f'set for that, {", ".join(sorted(dropped))}.')


def needed_config(flag, example: str = 'configs/shapes.py'):
  """The config that --config names, or UserError where there is none, or nonsense."""
  if not flag.config:
    raise UserError(f'--config=FILE is needed, such as {example}.')
  with user_errors():
    validation.check(flag.config)
  return flag.config


def config_flag() -> str:
  """The --config=FILE of the command line, for a message."""
  words = [w for w in sys.argv if w.partition('=')[0] == '--config']
  return words[-1] if words and '=' in words[-1] else '--config'


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
      if at in base.OPEN:
        break
      if not isinstance(node, ConfigDict) or name not in node:
        there = sorted(node) if isinstance(node, ConfigDict) else []
        near = difflib.get_close_matches(name, there, 1)
        return (f'{at} has no key {name!r}' + (f'; did you mean {near[0]!r}?' if near
                else '.') + f' It has {there}.')
      at, node = f'{at}.{name}', node[name]
  return None
