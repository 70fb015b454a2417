"""Checks of what a config gave to a module, with errors that name the key."""
from models import context, layers


def one_of(module, key: str, **tables):
  """Raises ValueError for a field that is not in its table."""
  for name, table in tables.items():
    value = getattr(module, name)
    if value not in table:
      raise ValueError(f'{key}.{name} is {value!r}, not one of {sorted(table)}.')


def positive(module, key: str, *names):
  """Raises ValueError for a field that is not above 0, or has an entry that is not."""
  for name in names:
    value = getattr(module, name)
    entries = value if isinstance(value, tuple | list) else (value,)
    if not entries:
      raise ValueError(f'{key}.{name} is empty; it needs at least one entry.')
    if not all(entry > 0 for entry in entries):
      raise ValueError(f'{key}.{name} is {value}; it must be above 0.')


def divides(key: str, value: int, whole: int, what: str):
  """Raises ValueError where `value` does not divide `whole`."""
  if whole % value:
    raise ValueError(f'{key} is {value}, which does not divide {whole}, {what}.')


def backbone(module, key: str):
  """Raises ValueError for fields that every backbone has."""
  one_of(module, key, time_unit=layers.TIMES, remat=layers.REMAT)
  known = set(context.Scalars._fields) - {'t'}
  if odd := sorted(set(module.scalars) - known):
    raise ValueError(f'{key}.scalars has {odd}, not of {sorted(known)}.')


def levels(module, key: str, *names):
  """Raises ValueError where a U-Net's levels lack an entry or have an odd width.

  names: fields that are to divide the width of each level.
  """
  if len(module.attention) != len(module.channel_mult):
    raise ValueError(
        f'{key}.attention has {len(module.attention)} entries and {key}.channel_mult '
        f'{len(module.channel_mult)}; each level needs one of both.')
  for mult in module.channel_mult:
    for name in names:
      divides(f'{key}.{name}', getattr(module, name), int(module.width * mult),
              'the width of a level')


def transformer(module, key: str, size):
  """Raises ValueError for fields that every transformer over patches has."""
  backbone(module, key)
  positive(module, key, 'width', 'depth', 'heads', 'patch')
  divides(f'{key}.heads', module.heads, module.width, f'{key}.width')
  multiple(size, module.patch, 'of its patches')


def multiple(size, step: int, why: str):
  """Raises ValueError where pictures of size (h, w) cannot be cut into `step`s."""
  if any(side % step for side in size):
    raise ValueError(f'config.data.size gives {size[0]} x {size[1]} pixels; height and '
                     f'width must be multiples of {step} ({why}).')


def within(module, key: str, **ends):
  """Raises ValueError for a field that is not from 0 to below its end."""
  for name, end in ends.items():
    value = getattr(module, name)
    if not 0 <= value < end:
      raise ValueError(f'{key}.{name} is {value}; it must be from 0 to {end - 1}.')


def tokens(known: int, vocab: int, length: int, most: int | None = None):
  """Raises ValueError for a tokenizer that a text encoder cannot read.

  known, vocab: tokens that the encoder knows, and that the tokenizer has. length, most:
  tokens of a caption, and most that the encoder has a place for.
  """
  if most is not None and length > most:
    raise ValueError(f'config.tokenizer.length is {length}; CLIP takes up to {most}.')
  if known < vocab:
    raise ValueError(f'config.condition.vocab is {known}; the tokenizer has {vocab} '
                     'tokens. Is it the one that the text encoder was trained with?')


def alike(value, usual) -> bool:
  """Whether a value has the type of the usual one; a whole number may stand for any."""
  return type(value) is type(usual) or type(usual) is float and type(value) is int
