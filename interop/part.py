"""A part of a public pipeline, as its JSON file describes it."""
import json
import os


class Part:
  """A JSON file of a pipeline, read field by field so that an odd one is named.

  It knows which fields were read; `done` refuses what nobody asked for. `corrected`:
  {a field that is taken for another value than it has: a sentence that says so}.
  """

  def __init__(self, *path, fields: dict | None = None):
    """fields: of a file that is not there yet; None reads it."""
    self.path = os.path.join(*path)
    try:
      if fields is None:
        with open(self.path, encoding='utf-8') as f:
          fields = json.load(f)
    except ValueError as e:
      raise ValueError(f'{self.path} is not JSON: {e}') from e
    self.fields = fields
    if not isinstance(self.fields, dict):
      raise ValueError(f'{self.path} has no fields.')
    self.asked, self.corrected = set(), {}

  def get(self, key: str, *default):
    """A field; raises ValueError where it is missing and there is no default.

    One that is null is missing; one of another type than its default is refused.
    """
    self.asked.add(key)
    if key not in self.fields and not default:
      raise ValueError(f'{self.path} lacks {key!r}.')
    value = self.fields.get(key, *default)
    if value is None and default:
      return default[0]
    if default and default[0] is not None and not alike(value, default[0]):
      self.refuse(key, value, f'it is like {default[0]!r}')
    return value

  def number(self, key: str, *default):
    """A whole number above 0, as `get`."""
    value = self.get(key, *default)
    if type(value) is not int or value <= 0:
      self.refuse(key, value, 'it is one whole number above 0')
    return value

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
      self.asked.add(key)
      if (found := self.fields.get(key)) not in (None, value):
        self.refuse(key, found, f'it is {value!r}')

  def must(self, key: str, value, default):
    """Raises ValueError for a field with another value, or without any but another
    default."""
    if (found := self.get(key, default)) != value:
      there = f'has {key} = {found!r}' if key in self.fields else (
          f'lacks {key!r}, which is then {found!r}')
      raise ValueError(f'{self.path} {there}; here it is {value!r}.')

  def one_of(self, key: str, table, *default):
    """table[the field], or ValueError with what there is."""
    value = self.get(key, *default)
    if not isinstance(value, str) or value not in table:
      raise ValueError(f'{self.path} has {key} = {value!r}, not one of '
                       f'{sorted(table)}.')
    return table[value]

  def each(self, key: str, n: int, *default):
    """A field that is one number for all n levels, or a list of them."""
    self.asked.add(key)
    value = self.fields.get(key)
    value = default[0] if value is None and default else self.get(key, None)
    values = tuple(value) if isinstance(value, list) else (value,) * n
    if len(values) != n or any(type(x) is not int or x < 0 for x in values):
      self.refuse(key, value, f'it is one whole number, or {n} of them in a list')
    return values

  def channel_mult(self, *default):
    """The widths of levels, as multiples of the first."""
    widths = self.get('block_out_channels', *default)
    if not widths or any(type(w) is not int or w <= 0 or w % widths[0] for w in widths):
      self.refuse('block_out_channels', widths,
                  'they are whole numbers, multiples of the first')
    return tuple(w // widths[0] for w in widths)

  def correct(self, key: str, value, usual):
    """Takes a field for another value, as diffusers does with old files.

    usual: what it is where it is missing.
    """
    if (found := self.fields.get(key, usual)) != value:
      self.corrected[key] = (f'{self.path} has {key} = {found!r}, which is taken for '
                             f'{value!r}, as diffusers does with old files.')
    self.fields[key] = value

  @property
  def notes(self) -> tuple[str, ...]:
    """Of the corrected fields that were read."""
    return tuple(self.corrected[key] for key in self.corrected if key in self.asked)

  def done(self, *without_effect: str):
    """Raises ValueError for a field that was not read and is not one of these."""
    left = [key for key in self.fields if key not in self.asked
            and key not in without_effect and key[0] != '_']
    if left:
      self.refuse(left[0], self.fields[left[0]],
                  'that is not known, nor whether it changes pictures')


def alike(value, default) -> bool:
  """Whether a field has its default's type; a whole number may stand for any number."""
  return type(value) is type(default) or (
      type(default) is float and type(value) is int)
