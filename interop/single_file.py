"""A pipeline whose weights are one file, in the layout of the original code.

Such a file has no fields, no tokenizer and no scheduler: these are those of a pipeline
that it belongs to, its base, as in diffusers' from_single_file.
"""
import numpy as np

from interop import betas, original, pipelines, tensors
from interop.part import Part

TABLE = 'alphas_cumprod'  # alpha^2 of the trained steps


def read(path: str, base: str) -> dict:
  """Parts of a config, as pipelines.read of the base: the weights are those of the
  file, and of the base for parts that the file lacks, which is noted.

  Raises ValueError for a file with parts that the base has none of, or trained with
  another schedule.
  """
  found, parts = original.parts_in(path), pipelines.read(base)
  places = dict(parts['init_from'])
  if odd := sorted(found.keys() - places.keys()):
    raise ValueError(f'{path} has {" and ".join(odd)}; {base} has {sorted(places)}. It '
                     'belongs to another pipeline (--base).')
  check_schedule(path, base)
  lacking = tuple(f'{path} has no {part}: it is taken from {place}.'
                  for part, place in places.items() if part not in found)
  averaged = any(name.startswith('model_ema.') for name in tensors.opened(path))
  notes = (f'{path} has averaged weights, too (model_ema.*), which are not used, as in '
           'diffusers.',) * averaged
  rows = tuple((part, path if part in found else place)
               for part, place in places.items())
  return parts | dict(init_from=rows, notes=parts['notes'] + lacking + notes)


def check_schedule(path: str, base: str):
  """Raises ValueError for a file that says another schedule than the base does."""
  table = tensors.opened(path).get(TABLE)
  part = Part(base, 'scheduler', 'scheduler_config.json')
  if table is None or part.get('rescale_betas_zero_snr', False):
    return
  here = betas.alpha_bars(part, betas.STABLE)
  there = np.asarray(table.read(), np.float64)
  if there.shape != here.shape or abs(there - here).max() > 1e-3:
    raise ValueError(f'{path} has {TABLE} from {there.flat[0]:.4f} to '
                     f'{there.flat[-1]:.4f}; the scheduler of {base} goes from '
                     f'{here[0]:.4f} to {here[-1]:.4f}.')
