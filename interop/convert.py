r"""Turns a pickle of tensors (.pth, .pt, .bin, .ckpt) into a safetensors file.

python -m interop.convert pt_inception-2015-12-05-6726825d.pth \
    --out=weights/public/inception.safetensors

Nothing in the pickle is run: one that calls anything but what tensors are made of is
refused, by name. Types of numbers stay (bfloat16, half). Nested names are joined with
dots. --part=state_dict takes what lies under that name alone.
"""
import json

from absl import flags
import numpy as np

from console import command, files
from console.errors import UserError, user_errors
from interop import pickles

CODES = {'float32': 'F32', 'float64': 'F64', 'float16': 'F16', 'bfloat16': 'BF16',
         'int64': 'I64', 'int32': 'I32', 'int16': 'I16', 'int8': 'I8', 'uint8': 'U8',
         'bool': 'BOOL'}


def define_flags():
  flags.DEFINE_string('out', None, 'NAME.safetensors: the file to write.')
  flags.DEFINE_string('part', None, 'Name of the part to take, such as state_dict, or '
                      'ema.model with a dot between names, of a file that has several.')


def part_of(tree, part: str | None):
  """What lies under 'a.b' of nested dicts."""
  for name in part.split('.') if part else ():
    if not isinstance(tree, dict) or name not in tree:
      known = sorted(map(str, tree)) if isinstance(tree, dict) else 'nothing'
      raise ValueError(f'--part={part}: there is no {name!r}, only {known}.')
    tree = tree[name]
  return tree


def flat(tree, prefix='') -> dict[str, np.ndarray]:
  """{names joined with dots: array}; raises ValueError for what is no array."""
  if isinstance(tree, np.ndarray):
    return {prefix: tree}
  if not isinstance(tree, dict | list):
    raise ValueError(f'{prefix or "the file"} is {tree!r:.40}, no tensor; choose the '
                     'part that holds only tensors with --part=NAME.')
  pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
  found = {}
  for name, each in pairs:
    new = flat(each, f'{prefix}.{name}' if prefix else str(name))
    if both := found.keys() & new.keys():
      raise ValueError(f'two tensors would have the name {min(both)!r}.')
    found |= new
  return found


def write(path: str, arrays: dict[str, np.ndarray]):
  """Writes safetensors array by array, whole or not at all."""
  header, place = {}, 0
  for name, array in arrays.items():
    if (code := CODES.get(array.dtype.name)) is None:
      raise ValueError(f'{name} is of {array.dtype}, not of one of {sorted(CODES)}.')
    header[name] = dict(dtype=code, shape=array.shape,
                        data_offsets=(place, place := place + array.nbytes))
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)
  with files.atomic_write(path) as new, open(new, 'wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for array in arrays.values():
      if array.dtype.byteorder == '>':
        array = array.astype(array.dtype.newbyteorder('<'))
      file.write(np.ascontiguousarray(array))


@user_errors()
def main(flag, words):
  if len(words) != 1:
    raise UserError('one FILE is needed, a .pth, .pt, .bin or .ckpt, before the flags.')
  if not flag.out:
    raise UserError('--out=NAME.safetensors is needed.')
  files.check_new_file(flag.out, 'out', '.safetensors')
  arrays = flat(part_of(pickles.read(words[0]), flag.part))
  if not arrays:
    raise ValueError(f'{words[0]} holds no tensors.')
  write(flag.out, arrays)
  total = sum(array.nbytes for array in arrays.values())
  print(f'{flag.out}: {len(arrays)} tensors, {total / 1e6:,.1f} MB')


if __name__ == '__main__':
  command.run(main, define_flags, words=True)
