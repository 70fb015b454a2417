"""Safetensors files as arrays that are read where and when they are looked at."""
import json
import pathlib
import re
import struct
from typing import NamedTuple

import ml_dtypes
import numpy as np
import safetensors

DTYPES = {  # of the format, which numpy alone lacks some of
    'F64': np.float64, 'F32': np.float32, 'F16': np.float16,
    'BF16': ml_dtypes.bfloat16, 'F8_E4M3': ml_dtypes.float8_e4m3fn,
    'F8_E5M2': ml_dtypes.float8_e5m2, 'I64': np.int64, 'I32': np.int32,
    'I16': np.int16, 'I8': np.int8, 'U8': np.uint8, 'BOOL': np.bool_}


class Tensor(NamedTuple):
  """Where an array is: the file, the place of its bytes in it, and its form."""
  path: pathlib.Path
  offset: int
  dtype: type
  shape: tuple[int, ...]

  def read(self) -> np.ndarray:
    """A view of the file; only what is looked at is read."""
    if 0 in self.shape:
      return np.zeros(self.shape, self.dtype)
    return np.memmap(self.path, self.dtype, 'r', self.offset, self.shape)


class Pieces(NamedTuple):
  """Some of the n equal pieces of an array along its first axis, in an order of their
  own, as if they were an array of the file."""
  whole: Tensor
  n: int
  order: tuple[int, ...]

  @property
  def shape(self):
    first, *rest = self.whole.shape
    return first // self.n * len(self.order), *rest

  def read(self):
    pieces = np.split(self.whole.read(), self.n)
    return np.concatenate([pieces[i] for i in self.order])


def tensors(path) -> dict[str, Tensor]:
  """The arrays of one file. Raises ValueError for one that is not whole."""
  try:
    with safetensors.safe_open(path, 'np'):  # which looks at the header and the size
      pass
    with open(path, 'rb') as f:
      size, = struct.unpack('<Q', f.read(8))
      header = json.loads(f.read(size))
  except (safetensors.SafetensorError, OSError, ValueError) as e:
    raise ValueError(f'{path} is not a whole safetensors file: {e}') from e
  found = {}
  for name, about in header.items():
    if name == '__metadata__':
      continue
    if about['dtype'] not in DTYPES:
      raise ValueError(f'{path} has {name!r} in {about["dtype"]}, not one of '
                       f'{sorted(DTYPES)}.')
    found[name] = Tensor(path, 8 + size + about['data_offsets'][0],
                         DTYPES[about['dtype']], tuple(about['shape']))
  return found


def opened(path, variant: str | None = None) -> dict[str, Tensor]:
  """{name: array} of a file, or of a folder in which all files are parts of one.

  variant: 'fp16' of model.fp16.safetensors. Of a folder those without one count, if
  there are any, or where there are none of the variant, as in diffusers.
  """
  path, found = pathlib.Path(path), {}
  for part in [path] if path.is_file() else chosen(path, variant):
    for name, tensor in tensors(part).items():
      if name in found:
        raise ValueError(f'{path} has {name!r} in {part.name} and in another file; '
                         'give the one that is meant, or a folder of its parts alone.')
      found[name] = tensor
  if not found:
    raise ValueError(f'{path} is no safetensors file and no folder with one.'
                     + in_other_forms(path))
  return found


def chosen(folder: pathlib.Path, variant: str | None) -> list[pathlib.Path]:
  """The files of a folder that are read."""
  files = sorted(folder.glob('*.safetensors'))
  of = {file: re.sub(r'-\d+-of-\d+$', '', file.stem).partition('.')[2]
        for file in files}
  wanted = [file for file in files if of[file] == (variant or '')]
  wanted = wanted or [file for file in files if not of[file]] or files
  for index in folder.glob('*.safetensors.index*.json'):
    with open(index, encoding='utf-8') as f:
      shards = set(json.load(f).get('weight_map', {}).values())
    lost = sorted(name for name in shards if not (folder / name).exists())
    if lost and len(lost) < len(shards):
      raise ValueError(f'{folder} lacks {lost[0]}, which {index.name} names.')
  return wanted


def in_other_forms(path: pathlib.Path) -> str:
  """What to do with weights that are there, but pickled."""
  pickled = sorted(path.glob('*.bin')) if path.is_dir() else []
  return (f' {pickled[0].name} is a pickle, which could run code and is not read as it '
          f'is: python -m interop.convert {pickled[0]} '
          f'--out={pickled[0].with_suffix(".safetensors")}') if pickled else ''
