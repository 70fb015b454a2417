"""Files of textual inversion (arXiv:2208.01618): learned tokens as rows of a table.

diffusers writes {token: [vectors, width]}. Of models with two encoders, as Stable
Diffusion XL, files have {'clip_l': ..., 'clip_g': ...} and the token is the file's
name; of web UIs with one, {'emb_params': ...}.
"""
import pathlib

import numpy as np
import safetensors
from safetensors import numpy as storage

UNNAMED = 'emb_params'
TWO = {'clip_l', 'clip_g'}


def read(path: str, widths: dict[str, int]) -> dict[str, dict[str, np.ndarray]]:
  """{token: {table: f32[vectors width]}} of a safetensors file.

  widths: {the part of a text encoder that has a table: its width}; '' for the only one.
  Raises ValueError for another form, or other tables, by name.
  """
  try:
    arrays = storage.load_file(path)
  except (safetensors.SafetensorError, OSError) as e:
    raise ValueError(f'{path} is not a whole safetensors file: {e}') from e
  stem, two = pathlib.Path(path).stem, TWO <= arrays.keys()
  if two != (widths.keys() == TWO):
    here = sorted(widths) if '' not in widths else 'a single one'
    raise ValueError(f'{path} has {sorted(arrays)}; it is for another text encoder: '
                     f'the tables here are {here}.')
  found = {stem: arrays} if two else {
      stem if name == UNNAMED else name: {'': array} for name, array in arrays.items()}
  for token, tables in found.items():
    for name, array in tables.items():
      rows = np.atleast_2d(np.asarray(array, np.float32))
      if name not in widths or rows.ndim != 2 or rows.shape[1] != widths[name]:
        raise ValueError(f'{path} has {list(array.shape)} for {name or token}; rows of '
                         f'the tables here are {sorted(widths.values())} wide.')
      tables[name] = rows
    if len({len(rows) for rows in tables.values()}) > 1:
      raise ValueError(f'{path} has more vectors for one encoder than for another.')
  return found


def save(path: str, learned: dict[str, dict[str, np.ndarray]]):
  """Writes what `read` gives. Raises ValueError for two tokens of two tables each: such
  a file has one."""
  if any(len(tables) > 1 for tables in learned.values()) and len(learned) > 1:
    raise ValueError(f'{path}: a file for two text encoders has one token, by its own '
                     f'name; there are {sorted(learned)}.')
  arrays = {name or token: np.asarray(rows, np.float32)
            for token, tables in learned.items() for name, rows in tables.items()}
  storage.save_file(arrays, path)
