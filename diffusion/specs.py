"""Choices of a config that may have options: 'cosine', 'logit_normal(mean=0.5)'.

A table maps each name to a function. Its parameters with defaults are the options; what
it needs beyond them are its parameters without, or with None, which the caller gives by
name.
"""
import ast
import functools
import inspect
import math


def build(table, spec: str, key: str, **given):
  """The row that 'name(option=value)' is of, called with the needed and its options.

  key: of the config, for messages, such as 'diffusion.target'. given: what rows may
  need; each takes only what it has parameters for. Raises ValueError as `check`, and
  what the row raises with the key before it.
  """
  name, options = check(table, spec, key)
  needed = [n for n, p in inspect.signature(table[name]).parameters.items()
            if p.default in (p.empty, None) and n in given]
  try:
    return table[name](**{n: given[n] for n in needed}, **options)
  except ValueError as e:
    raise ValueError(f'{named(key)} is {spec!r}: {e}') from e


def check(table, spec: str, key: str) -> tuple[str, dict]:
  """(name, options) of a spec whose row is not built.

  Raises ValueError for another name, option or type, or a number that is not finite.
  """
  name, options = parse(spec, key)
  where = f'{named(key)} is {spec!r}'
  if name not in table:
    raise ValueError(f'{where}, not one of {sorted(table)}.')
  defaults = options_of(table[name])
  for option, value in options.items():
    must = f'{where}: {option} is {value!r}; it must be'
    if option not in defaults:
      raise ValueError(f'{where}: {name} has no option {option!r}; its options are '
                       f'{sorted(defaults)}.')
    if not alike(value, defaults[option]):
      raise ValueError(f'{must} like {defaults[option]!r}.')
    if not finite(value):
      raise ValueError(f'{must} finite.')
  return name, options


def options_of(row) -> dict:
  """{option: its default} of a row."""
  return {name: p.default for name, p in inspect.signature(row).parameters.items()
          if p.default not in (p.empty, None)}


def parse(spec: str, key: str) -> tuple[str, dict]:
  """(name, options) as they are written, whether a table has them or not."""
  try:
    tree = ast.parse(spec, mode='eval').body
    if isinstance(tree, ast.Name):
      return tree.id, {}
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
      return tree.func.id, {k.arg: ast.literal_eval(k.value) for k in tree.keywords}
  except (SyntaxError, ValueError, TypeError):
    pass
  raise ValueError(f"{named(key)} is {spec!r}; it is written 'name' or "
                   "'name(option=value, ...)'.")


named = lambda key: key if key[:2] == '--' else f'config.{key}'  # of a flag


def alike(value, default) -> bool:
  """Whether a value has its default's type; a whole number may stand for any number."""
  return type(value) is type(default) or (
      type(default) is float and type(value) is int)


def finite(value) -> bool:
  """Whether a number is finite, or each in a tuple; what is no number is."""
  return (all(map(finite, value)) if isinstance(value, tuple) else
          not isinstance(value, int | float) or math.isfinite(value))


def require(accepts, said: str, **options):
  """Raises ValueError for an option that is not accepted, with what would be."""
  for name, value in options.items():
    if not accepts(value):
      raise ValueError(f'{name} is {value!r}; {said}.')


above_zero = functools.partial(require, lambda x: x > 0, 'it must be above 0')
not_negative = functools.partial(require, lambda x: x >= 0, 'it must not be negative')


def between(low: float, high: float, /, **options):
  """Raises ValueError for an option outside [low, high]."""
  require(lambda x: low <= x <= high, f'it must be from {low:.4g} to {high:.4g}',
          **options)
