"""Pickles of tensors, as PyTorch and numpy write them, read without running anything.

A pickle is a program: what unpickles it calls whatever it names. Here it may name only
what tensors are made of (NAMES), each of which is a function of this file, and any
other name is refused. Neither PyTorch nor the pickle's own numpy has a part in it.

Three kinds of files: PyTorch's archives (a zip with data.pkl and a file for each
storage), its files from before 1.6 (pickles one after another, then the storages), and
plain pickles. Arrays stay in the file until they are used.
"""
import collections
import pickle
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import ml_dtypes
import numpy as np

OLD = pickle.dumps(0x1950a86a20f9469cfc6c, 2)  # opens PyTorch's files from before 1.6
STORAGES = {
    'FloatStorage': np.float32, 'DoubleStorage': np.float64, 'HalfStorage': np.float16,
    'BFloat16Storage': ml_dtypes.bfloat16, 'LongStorage': np.int64,
    'IntStorage': np.int32, 'ShortStorage': np.int16, 'CharStorage': np.int8,
    'ByteStorage': np.uint8, 'BoolStorage': np.bool_}


class Storage:
  """Numbers of one type, of which tensors are views; where they are may come later."""
  __slots__ = ('dtype', 'size', 'array')

  def __init__(self, dtype, size: int):
    self.dtype, self.size, self.array = np.dtype(dtype), size, None


class Tensor(NamedTuple):
  """A view of a storage. `array` gives it."""
  storage: Storage
  offset: int
  shape: tuple
  strides: tuple

  def array(self) -> np.ndarray:
    last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides))
    whole = (len(self.shape) == len(self.strides) and self.offset >= 0
             and all(n >= 0 for n in self.shape + self.strides))
    if not whole or 0 not in self.shape and last >= self.storage.size:
      raise ValueError('a tensor is no part of its storage')
    flat = self.storage.array[self.offset:]
    return np.lib.stride_tricks.as_strided(
        flat, self.shape, [s * flat.itemsize for s in self.strides], writeable=False)


class Array:
  """numpy's array while it is being made: its state may come after it."""
  __slots__ = ('state',)

  def __init__(self, *state):
    self.state = state

  def __setstate__(self, state):
    self.state = state

  def array(self) -> np.ndarray:
    _, shape, dtype, by_columns, data = self.state
    return np.frombuffer(data, dtype.dtype()).reshape(
        shape, order='F' if by_columns else 'C')


class Dtype:
  """numpy's type of numbers, likewise."""
  __slots__ = ('code', 'order')

  def __init__(self, code, *_):
    self.code, self.order = code, '='

  def __setstate__(self, state):
    self.order = state[1]

  def dtype(self) -> np.dtype:
    found = np.dtype(self.code).newbyteorder(self.order)
    if found.kind not in 'biuf':
      raise ValueError(f'an array is of {found}, not of numbers')
    return found


class Name(NamedTuple):
  """What a pickle may call. Immutable, so that a pickle cannot change it."""
  call: Callable

  def __call__(self, *args):
    return self.call(*args)


def from_buffer(data, dtype, shape, order):
  return Array(None, shape, dtype, order == 'F', data)


def latin1(text, code):
  """Bytes as Python 3 writes them where a pickle is to be read by Python 2."""
  if code != 'latin1':
    raise Refused(f'it has bytes encoded in {code!r}.')
  return text.encode('latin1')


def tensor(storage, offset, shape, strides, *_):
  return Tensor(storage, offset, tuple(shape), tuple(strides))


NAMES = {
    '_codecs.encode': Name(latin1),
    'collections.OrderedDict': Name(collections.OrderedDict),
    'torch._utils._rebuild_tensor': Name(tensor),
    'torch._utils._rebuild_tensor_v2': Name(tensor),
    'torch._utils._rebuild_parameter': Name(lambda data, *_: data),
    'torch.Size': Name(tuple), 'numpy.ndarray': 'numpy.ndarray',
    'numpy.dtype': Name(Dtype),
} | {f'numpy.{core}.{name}': Name(function) for core in ('core', '_core')
     for name, function in (('multiarray._reconstruct', lambda *_: Array()),
                            ('numeric._frombuffer', from_buffer))
} | {f'torch.{name}': np.dtype(dtype).name for name, dtype in STORAGES.items()}


class Unpickler(pickle.Unpickler):
  """Knows NAMES and, by `storage`, PyTorch's storages."""

  def __init__(self, file, storage):
    super().__init__(file)
    self.storage = storage

  def find_class(self, module, name):
    if (found := NAMES.get(f'{module}.{name}')) is None:
      raise Refused(f'it calls {module}.{name}, which is no part of a tensor; '
                    'nothing of it was run.')
    return found

  def persistent_load(self, pid):
    kind, dtype, key, _, size, *view = pid
    if kind != 'storage' or any(view):
      raise Refused(f'it refers to {kind!r}, which is no plain storage.')
    return self.storage(str(key), dtype, size)


class Refused(ValueError):
  """A pickle that holds something else than tensors."""


def read(path: str):
  """What a file of tensors holds: nested dicts and lists with numpy arrays at the ends.

  The arrays are read-only views of the file. Raises ValueError, with the path, for a
  file of another kind, a pickle that names anything but tensors (nothing of it has run
  by then), and one cut short.
  """
  with open(path, 'rb') as file:
    try:
      if zipfile.is_zipfile(file):
        return settled(read_archive(path))
      file.seek(0)
      old = file.read(len(OLD)) == OLD
      file.seek(0)
      value = read_old(path, file) if old else Unpickler(file, None).load()
      return settled(value)
    except Refused as e:
      raise ValueError(f'{path} is refused: {e}') from e
    except Exception as e:  # of a damaged file, in which anything can stand
      raise ValueError(f'{path} is no whole file of tensors: {e}') from e


def read_archive(path: str):
  """PyTorch's zip: the storages lie in it as they are."""
  with zipfile.ZipFile(path) as archive:
    members = {info.filename: info for info in archive.infolist()}
    roots = [name for name in members if name.endswith('data.pkl')]
    if len(roots) != 1:
      raise Refused('it is a zip without one data.pkl.')
    root = roots[0].removesuffix('data.pkl')
    if (order := root + 'byteorder') in members and archive.read(order) != b'little':
      raise Refused('its bytes are in big-endian order.')
    found = {}

    def storage(key, dtype, size):
      if key not in found:
        one, info = Storage(dtype, size), members[f'{root}data/{key}']
        if info.file_size != size * one.dtype.itemsize:
          raise ValueError(f'storage {key} does not have {size} numbers')
        one.array = mapped(path, place_in_zip(path, info), one)
        found[key] = one
      return found[key]
    with archive.open(roots[0]) as file:
      return Unpickler(file, storage).load()


def place_in_zip(path: str, info) -> int:
  """Where the bytes of a member begin."""
  if info.compress_type != zipfile.ZIP_STORED:
    raise Refused(f'{info.filename} in it is compressed.')
  with open(path, 'rb') as file:
    file.seek(info.header_offset + 26)
    lengths = np.frombuffer(file.read(4), '<u2')  # of its name and extra field
  return info.header_offset + 30 + int(lengths.sum())


def read_old(path: str, file):
  """A number, a version, sizes of types, the value, keys of storages, the storages."""
  found = {}

  def storage(key, dtype, size):
    return found.setdefault(key, Storage(dtype, size))
  _, version, system = (Unpickler(file, None).load() for _ in range(3))
  if version != 1001 or not system.get('little_endian'):
    raise Refused(f'it is of version {version} or in big-endian order.')
  value, keys = (Unpickler(file, storage).load() for _ in range(2))
  for key in keys:
    size, one = int(np.frombuffer(file.read(8), '<i8')[0]), found[str(key)]
    if size != one.size:
      raise ValueError(f'storage {key} has {size} numbers, not {one.size}')
    one.array = mapped(path, file.tell(), one)
    file.seek(size * one.dtype.itemsize, 1)
  return value


def mapped(path: str, offset: int, storage: Storage):
  """The numbers of a storage as they lie in the file."""
  if not storage.size:
    return np.empty(0, storage.dtype)
  return np.memmap(path, storage.dtype, 'r', offset, storage.size)


def settled(value):
  """The value with arrays for what stands for them."""
  if isinstance(value, Tensor | Array):
    return value.array()
  if isinstance(value, dict):
    return {key: settled(each) for key, each in value.items()}
  if isinstance(value, tuple | list):
    return [settled(each) for each in value]
  return value
