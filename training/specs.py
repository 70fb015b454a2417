"""Choices of a config that may have options: 'cosine', 'logit_normal(mean=0.5)'."""
import ast
import inspect

from models import check


def make(table, spec: str, key: str, *args):
  """table[name](*args, option=value, ...) for a spec 'name(option=value, ...)'.

  Raises ValueError as `read`, and with the key what the function raises itself.
  """
  name, options = read(table, spec, key)
  try:
    return table[name](*args, **options)
  except ValueError as e:
    raise ValueError(f'config.{key} is {spec!r}: {e}') from e


def read(table, spec: str, key: str):
  """(name, options) of a spec, checked.

  Args:
    table: name -> a function whose arguments with defaults are the options.
    key: of the config, for messages, such as 'diffusion.weight'.

  Raises:
    ValueError: another name, option or type, with what is accepted.
  """
  name, options = parse(spec, f'config.{key}')
  if name not in table:
    raise ValueError(f'config.{key} is {spec!r}, not one of {sorted(table)}.')
  known = {k: p.default for k, p in inspect.signature(table[name]).parameters.items()
           if p.default is not p.empty}
  for option, value in options.items():
    if option not in known:
      raise ValueError(f'config.{key} is {spec!r}: {name} has no option {option!r}; '
                       f'its options are {sorted(known)}.')
    if not check.alike(value, known[option]):
      raise ValueError(f'config.{key} is {spec!r}: {option} is {value!r}; it must be '
                       f'like {known[option]!r}.')
  return name, options


def parse(spec: str, where: str):
  """(name, options) of a spec."""
  try:
    tree = ast.parse(spec, mode='eval').body
    if isinstance(tree, ast.Name):
      return tree.id, {}
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and not tree.args:
      return tree.func.id, {k.arg: ast.literal_eval(k.value) for k in tree.keywords}
  except (SyntaxError, ValueError, TypeError):
    pass
  raise ValueError(f"{where} is {spec!r}; it is written 'name' or "
                   "'name(option=value, ...)'.")


def option(spec: str, name: str):
  """The value of an option in a spec, 0 where it has none."""
  return parse(spec, 'config')[1].get(name, 0)
