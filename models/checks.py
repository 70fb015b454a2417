"""Checks of what a config gave to a module, with errors that name the key."""
import itertools
import math


def require(ok, key: str, value, rule: str):
  """Raises ValueError unless ok. rule: of the key, which its value breaks."""
  if not ok:
    raise ValueError(f'{key} is {value}; {rule}')


def fields(module, key: str):
  """Raises ValueError for fields that make no sense, whatever the others are.

  A module may declare `choices`, {field: what it, or each of its entries, may be}, and
  `positive`, names of fields that are to be above 0, or to have such entries alone.
  Numbers are finite and not negative, but for those of `signed`; those of `shares` are
  below 1.
  """
  for name, value in vars(module).items():
    for entry in value if isinstance(value, tuple) else (value,):
      if isinstance(entry, int | float):
        require(math.isfinite(entry), f'{key}.{name}', value, 'it must be finite.')
        require(entry >= 0 or name in getattr(module, 'signed', ()), f'{key}.{name}',
                value, 'it must not be negative.')
        require(entry < 1 or name not in getattr(module, 'shares', ()),
                f'{key}.{name}', value, 'it must be below 1.')
  for name, table in getattr(module, 'choices', {}).items():
    value = getattr(module, name)
    odd = set(value if isinstance(value, tuple) else [value]) - set(table)
    if odd and isinstance(value, tuple):
      raise ValueError(f'{key}.{name} has {sorted(odd)}, not of {sorted(table)}.')
    if odd:
      raise ValueError(f'{key}.{name} is {value!r}, not one of {sorted(table)}.')
  for name in getattr(module, 'positive', ()):
    value = getattr(module, name)
    entries = value if isinstance(value, tuple) else (value,)
    require(entries, f'{key}.{name}', 'empty', 'it needs at least one entry.')
    require(all(entry > 0 for entry in entries), f'{key}.{name}', value,
            'it must be above 0.')


def divides(key: str, value: int, whole: int, what: str):
  """Raises ValueError where `value` does not divide `whole`."""
  if whole % value:
    raise ValueError(f'{key} is {value}, which does not divide {whole}, {what}.')


def heads(module, key: str):
  """Raises ValueError where a transformer's width cannot be split into its heads."""
  divides(f'{key}.heads', module.heads, module.width, f'{key}.width')


def levels(module, *names):
  """Raises ValueError where a U-Net's levels lack an entry or have an odd width.

  names: fields that are to divide the width of each level.
  """
  if len(module.attention) != len(module.channel_mult):
    raise ValueError(
        f'config.model.attention has {len(module.attention)} entries and config.model.'
        f'channel_mult {len(module.channel_mult)}; each level needs one of both.')
  for name, mult in itertools.product(names, module.channel_mult):
    divides(f'config.model.{name}', getattr(module, name), int(module.width * mult),
            'the width of a level')


def multiple(size, step: int, why: str):
  """Raises ValueError where pictures of size (h, w) cannot be cut into `step`s."""
  if any(side % step for side in size):
    raise ValueError(f'config.data.size gives {size[0]} x {size[1]} pixels; height and '
                     f'width must be multiples of {step} ({why}).')


def within(module, **ends):
  """Raises ValueError for a condition's field that is not from 0 to below its end."""
  for name, end in ends.items():
    value = getattr(module, name)
    require(0 <= value < end, f'config.condition.{name}', value,
            f'it must be from 0 to {end - 1}.')


def tokens(known: int, vocab: int, length: int = 0, most: int = 0):
  """Raises ValueError for a tokenizer that a text encoder cannot read.

  known, vocab: tokens that the encoder knows, and that the tokenizer has. length, most:
  tokens of a caption, and most that the encoder has a place for.
  """
  require(length <= most, 'config.tokenizer.length', length,
          f'CLIP takes up to {most}.')
  require(known >= vocab, 'config.condition.vocab', known,
          f'the tokenizer has {vocab} tokens. Is it the one that the text encoder was '
          'trained with?')
