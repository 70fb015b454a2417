"""Whether the keys of a config make sense, whatever modules and choices they name."""
import functools
import math

from ml_collections import ConfigDict

from configs import base

TABLES = {  # tables over names or files: a row that they may have
    'optim.weight_decay': ('.*kernel', 0.5), 'optim.lr_scale': ('.*kernel', 0.5),
    'optim.unit_rms': ('.*kernel', True), 'init_from': ('part', 'folder'),
    'tokenizer.files': ('folder', 77)}
RANGES = (  # what a number must be, and the keys of which it must be that
    ('finite and above 0', lambda x: 0 < x < math.inf, '''
        data.pictures data.threads data.max_caption data.max_pixels data.min_side
        tokenizer.length optim.lr train.steps train.batch train.accumulate
        train.log_every train.checkpoint_every train.keep train.max_skipped
        sample.steps sample.batch sample.num eval.num lora.rank lora.alpha'''),
    ('above 0', lambda x: x > 0, 'optim.clip diffusion.loss_weight_cap'),
    ('from 0 to 1', lambda x: 0 <= x <= 1, '''
        data.single_share data.max_bad diffusion.augment diffusion.caption_dropout
        sample.rescale optim.decay_from'''),
    ('from 0 to below 1', lambda x: 0 <= x < 1, 'optim.b1 optim.b2 lora.dropout'),
    ('finite and not negative', lambda x: 0 <= x < math.inf, '''
        data.workers optim.warmup train.sample_every train.eval_every train.spike
        train.max_rollbacks
        train.averages_every diffusion.input_std diffusion.vlb'''),
    ('from -1000 to 1000', lambda x: abs(x) <= 1000,
     'sample.guidance sample.picture_guidance'),
    ('from 0 to 4294967295', lambda x: 0 <= x < 2**32, 'seed'),
    ('1, grey, or 3, colours', lambda x: x in (1, 3), 'data.channels'),
    ('at least 260, for the 256 bytes and the special tokens', lambda x: x >= 260,
     'tokenizer.vocab'))


def check(c):
  """Raises ValueError that names the first key whose value makes no sense."""
  check_keys(c, base.get_config(), 'config')
  def value(key):
    return functools.reduce(lambda part, name: part[name], key.split('.'), c)
  for must, holds, keys in RANGES:
    for key in keys.split():
      if not holds(value(key)):
        raise ValueError(f'config.{key} is {value(key)}; it must be {must}.')
  for key in ('optim.ema', 'sample.prompts', 'eval.kinds', 'eval.metrics'):
    if not value(key):
      raise ValueError(f'config.{key} is empty; it needs at least one entry.')
  for key, form in TABLES.items():
    for row in value(key):
      if not (isinstance(row, tuple) and len(row) == 2 and all(map(alike, row, form))):
        raise ValueError(f'config.{key} has {row!r}; its rows are like {form}.')
      if isinstance(row[1], float) and not 0 <= row[1] < math.inf:
        raise ValueError(f'config.{key} has {row!r}; its numbers are 0 or more.')
  steps = c.train.profile
  if steps and not (len(steps) == 2 and all(type(step) is int for step in steps)
                    and 0 < steps[0] <= steps[1]):
    raise ValueError(f'config.train.profile is {steps!r}; it must be () or (first, '
                     'last), steps from 1.')
  for row in c.tokenizer.added:
    if not (isinstance(row, tuple) and len(row) == 3 and row[0] and row[2] > 0
            and all(map(alike, row, ('', '', 1)))):
      raise ValueError(f'config.tokenizer.added has {row!r}; its rows are like '
                       "('<toy>', 'a toy', 1).")
  usual = base.get_config().lora
  for key in usual:
    if not c.lora.layers and c.lora[key] != usual[key]:
      raise ValueError(f'config.lora.{key} is {c.lora[key]!r}, but config.lora.layers '
                       'names no layers to adapt.')
  for key in ('frozen_dtype', 'ema_dtype', 'moment_dtype'):
    if c.optim[key] not in ('float32', 'bfloat16'):
      raise ValueError(f'config.optim.{key} is {c.optim[key]!r}, not '
                       "'float32' or 'bfloat16'.")
  for name in c.eval.more:
    check(with_evaluation(c, name))
  base.height_width(c.data.size)
  total = sum(length for _, length in c.tokenizer.files)
  if total not in (0, c.tokenizer.length):
    raise ValueError(f'config.tokenizer.length is {c.tokenizer.length}; the lengths of '
                     f'config.tokenizer.files add up to {total}.')
  if c.train.checkpoint_every % c.train.log_every:
    raise ValueError(
        f'config.train.checkpoint_every is {c.train.checkpoint_every}; it must be a '
        f'multiple of config.train.log_every, {c.train.log_every}, so that a resumed '
        'run logs what the first one did.')


def with_evaluation(c, name: str):
  """A config whose `eval` and `sample` are those of config.eval.more.NAME.

  Raises ValueError for an entry that lacks `every`, or has a key or value of no sense.
  """
  at, entry = f'config.eval.more.{name}', c.eval.more[name]
  c = c.copy_and_resolve_references()
  c.eval.more, c.eval.best = ConfigDict(), ''
  if not isinstance(entry, ConfigDict) or type(entry.get('every')) is not int:
    raise ValueError(f'{at} is {entry!r}; it must have `every`, in steps.')
  if not 0 < entry.every < 2**31:
    raise ValueError(f'{at}.every is {entry.every}; it must be above 0.')
  keys = {f'eval.{k}': v for k, v in entry.items() if k not in ('every', 'sample')}
  keys |= {f'sample.{k}': v for k, v in entry.get('sample', {}).items()}
  for key, value in keys.items():
    section, name = key.split('.')
    known = [k for k in c[section] if k not in ('more', 'best')]
    if name not in known:
      raise ValueError(f'{at} has a key {name!r}; it takes every, sample and '
                       f'{sorted(known)}.')
    if not alike(value, c[section][name]):
      raise ValueError(f'{at}: {key} is {value!r}; it must be like '
                       f'{c[section][name]!r}.')
    c[section][name] = value
  return c


def alike(value, default) -> bool:
  """Whether a value has its default's type; a whole number may stand for any number."""
  return type(value) is type(default) or (
      type(default) is float and type(value) is int)


def check_keys(c, known, at: str):
  """Raises ValueError for a key too many or too few, or a value of another type."""
  if not isinstance(c, ConfigDict):
    raise ValueError(f'{at} is {c!r}; it must have the keys {sorted(known)}.')
  if at in base.OPEN:  # keys of modules are fields: models.build checks them
    return
  for name in sorted(set(c) ^ set(known)):
    wrong = 'has a key' if name in c else 'lacks the key'
    raise ValueError(f'{at} {wrong} {name!r}; its keys are {sorted(known)}.')
  for name, value in known.items():
    if isinstance(value, ConfigDict):
      check_keys(c[name], value, f'{at}.{name}')
    elif not alike(c[name], value) and f'{at}.{name}' != 'config.data.size':
      raise ValueError(f'{at}.{name} is {c[name]!r}; it must be like {value!r}.')
