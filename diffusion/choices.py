"""One of a table of functions, chosen by its name and given plain options."""
import inspect


def make(table: dict, name: str, key: str, *args, **options):
  """table[name](*args, **options).

  Args:
    key: where the name stands in a config, for the message.

  Raises:
    ValueError: names the key and the choices, if the table has no such name, or if
      what it has takes no such option.
  """
  if name not in table:
    raise ValueError(f'config.{key} is {name!r}, not one of {sorted(table)}.')
  known = [p.name for p in inspect.signature(table[name]).parameters.values()
           if p.kind is p.KEYWORD_ONLY]
  if extra := sorted(options.keys() - set(known)):
    raise ValueError(f'config.{key} is {name!r}, which takes no option {extra[0]!r}; '
                     f'its options are {known}.')
  return table[name](*args, **options)
