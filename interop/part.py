"""A part of a public pipeline, as its JSON file describes it."""
import json
import os


class Part:
  """A JSON file of a pipeline, read field by field so that an odd one is named."""

  def __init__(self, *path):
    self.path = os.path.join(*path)
    try:
      with open(self.path, encoding='utf-8') as f:
        self.fields = json.load(f)
    except ValueError as e:
      raise ValueError(f'{self.path} is not JSON: {e}') from e
    if not isinstance(self.fields, dict):
      raise ValueError(f'{self.path} has no fields.')

  def get(self, key: str, *default):
    """A field; raises ValueError where it is missing and there is no default."""
    if key not in self.fields and not default:
      raise ValueError(f'{self.path} lacks {key!r}.')
    value = self.fields.get(key, *default)
    return default[0] if value is None and default else value

  def read(self, **keys) -> dict:
    """{our name: a field} of {our name: its key, or what `get` takes}."""
    return {name: self.get(*([key] if isinstance(key, str) else key))
            for name, key in keys.items()}

  def refuse(self, key: str, value, here: str):
    """Raises ValueError for a field. here: how it is with us."""
    raise ValueError(f'{self.path} has {key} = {value!r}; here {here}.')

  def only(self, **expected):
    """Raises ValueError for a field that is there with another value."""
    for key, value in expected.items():
      if (found := self.fields.get(key)) not in (None, value):
        self.refuse(key, found, f'it is {value!r}')

  def one_of(self, key: str, table, *default):
    """table[the field], or ValueError with what there is."""
    value = self.get(key, *default)
    if value not in table:
      raise ValueError(f'{self.path} has {key} = {value!r}, not one of '
                       f'{sorted(table)}.')
    return table[value]

  def each(self, key: str, n: int, *default):
    """A field that is one number for all n levels, or a list of them."""
    value = self.get(key, *default)
    return tuple(value) if isinstance(value, list) else (value,) * n

  def channel_mult(self):
    """The widths of levels, as multiples of the first."""
    widths = self.get('block_out_channels')
    if any(w % widths[0] for w in widths):
      self.refuse('block_out_channels', widths, 'they are multiples of the first')
    return tuple(w // widths[0] for w in widths)
