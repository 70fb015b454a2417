"""Pictures that an evaluation draws, kept: a folder of PNGs, or one npz as ADM's."""
from collections.abc import Callable
import os
from typing import NamedTuple
import zipfile

import numpy as np

from console import files
from data import images


class Keeper(NamedTuple):
  """Attributes:
    keep: (number of the first, uint8[b h w 3]) -> None, of each batch. One that comes
      again, as after a kill, is the same.
    done: () -> None, at the end.
    begun: whether there is something to go on with.
  """
  keep: Callable
  done: Callable
  begun: bool


def folder(path: str, prompts) -> Keeper:
  """FOLDER/000000.png, 000001.png, ... with the prompt in each."""
  def keep(first: int, pictures):
    os.makedirs(path, exist_ok=True)
    for i, picture in enumerate(pictures, first):
      with files.atomic_write(os.path.join(path, f'{i:06}.png')) as new:
        images.write_png(new, picture, {'prompt': prompts[i], 'index': str(i)})
  return Keeper(keep, lambda: None, os.path.isdir(path))


def archive(path: str, prompts, labels=None) -> Keeper:
  """NAME.npz: arr_0 uint8[n h w 3] and, where there are classes, arr_1 int64[n].

  Until all are there they stand in a file beside it. labels: int[n] or None.
  """
  new = f'{path}.pictures.npy'
  def keep(first: int, pictures):
    shape = len(prompts), *pictures.shape[1:]
    if os.path.exists(new) and np.load(new, mmap_mode='r').shape == shape:
      array = np.lib.format.open_memmap(new, 'r+')
    else:
      array = np.lib.format.open_memmap(new, 'w+', np.uint8, shape)
    array[first:first + len(pictures)] = pictures
    array.flush()
  def done():
    with files.atomic_write(path) as whole, zipfile.ZipFile(whole, 'w') as file:
      file.write(new, 'arr_0.npy')
      if labels is not None:
        with file.open('arr_1.npy', 'w') as part:
          np.lib.format.write_array(part, np.asarray(labels, np.int64))
    os.remove(new)
  return Keeper(keep, done, os.path.exists(new))
