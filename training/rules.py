"""Rules over parameter names: a table of regexes, of which the first match wins."""
import re

import jax


def names(tree):
  """A tree of 'a/b/kernel' names, shaped like the tree of parameters."""
  return jax.tree.map_with_path(
      lambda path, _: '/'.join(str(getattr(k, 'key', k)) for k in path), tree)


def by_name(tree) -> dict:
  """{'a/b/kernel': parameter}."""
  return dict(zip(jax.tree.leaves(names(tree)), jax.tree.leaves(tree)))


def match(rules, tree, key: str):
  """Maps each parameter to the value of the first rule whose regex matches its name.

  rules: (regex, value) pairs; a regex is to match the whole name. tree: parameters, or
  anything of their structure. Raises ValueError, with `key`, for a parameter that no
  rule matches, or what is no regex.
  """
  def find(name):
    for regex, value in rules:
      try:
        if re.fullmatch(regex, name):
          return value
      except re.error as e:
        raise ValueError(f'{key} has {regex!r}, which is no regex: {e}') from e
    raise ValueError(f'{key} has no rule for the parameter {name!r}; '
                     "end it with one for '.*'.")
  return jax.tree.map(find, names(tree))
