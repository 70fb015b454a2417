"""Pictures that a model draws beside the true ones that they are nearest to."""
import numpy as np

from data import images
from evaluation import gathering, neighbours, prompts, statistics
from evaluation.build import shared

COLUMNS = 5  # true pictures, the nearest first


def sheet(model, need, seed: int, progress=None):
  """(uint8[h w 3], lines of text) of config.eval.num pictures, a row each.

  A picture, and to its right the true ones whose features are nearest. A model that
  remembers draws what stands beside it. Above a row are its prompt and the distances,
  in brackets the share of true pictures that are as near as that to another true one.

  Args:
    need: a Need of rows, whose network and output say what is compared.

  Raises ValueError where there are too few true pictures.
  """
  c, drawn = model.config, []
  found = shared(model, [need], seed, progress,
                 keep=lambda first, pictures: drawn.extend(pictures))
  rows = found['generated'][need]
  true, _ = statistics.find(c, [need], model.mesh, progress)
  if len(true[need]) <= COLUMNS:
    raise ValueError(f'{len(true[need])} true pictures are too few; a row of the sheet '
                     f'has {COLUMNS}.')
  own = np.sqrt(np.sort(neighbours.radii(true[need], 1)))
  pictures = prompts.true_pictures(c)
  order = statistics.true_order(pictures)
  rest, lines = [], []
  for i, (index, distance) in enumerate(neighbours.ranked(rows, true[need], COLUMNS)):
    rest += [drawn[i], *(pictures.decoded_or_substitute(int(order[k]))[0]['image']
                         for k in index)]
    share = np.searchsorted(own, distance[0], 'right') / len(own)
    first, *others = (f'{d:.3g}' for d in distance)
    lines.append(f'{found["prompts"][i]}: {first} ({share:.0%}), {", ".join(others)}')
  return images.captioned(np.stack(rest), lines, COLUMNS + 1), lines


def need_of(true_needs) -> gathering.Need:
  """Rows of the network that the first of some Needs of true pictures looks at."""
  if not true_needs:
    raise ValueError('--nearest compares by the features of the first of --metrics '
                     "that has true pictures, such as fd(features='shapes').")
  return true_needs[0]._replace(kind='rows')
