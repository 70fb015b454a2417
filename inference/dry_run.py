"""Whether a config could be trained and drawn from, before anything is made."""
import os

from configs import validation
from data import sources
from inference import sampler
import training
from training import param_files, sharding, trackers, train_state, workdir


def check(c, new: bool = True):
  """Raises ValueError for anything in a config that could not be built or trained.

  new: whether a run is to start with it, so that config.init_from will be read.

  Returns the mesh.
  """
  validation.check(c)
  sources.check_choices(c.data)
  trackers.check(c.train.trackers)
  mesh = sharding.make_mesh(**c.mesh)
  built = training.build(c, mesh)
  if c.data.captions == 'none' and built.module.text_encoder.gives:
    raise ValueError("config.data.captions is 'none', but config.condition.name "
                     f'{c.condition.name!r} is told of captions; only none is not.')
  sampler.check(built.module, c)
  if new:
    check_init_from(c, built)
  return mesh


def check_init_from(c, built):
  """Raises ValueError for a row of config.init_from that has no part, or no folder."""
  shapes = train_state.combine(built.shapes.params, built.shapes.frozen)
  for part, place in c.init_from:
    param_files.part_of(shapes, part)
    if not os.path.exists(place):
      raise ValueError(f'config.init_from has {part!r} from {place!r}; there is no '
                       'such folder.')
    if part.startswith('text_encoder') and not (
        workdir.exported(place) or c.tokenizer.files):
      raise ValueError(f'config.init_from has {part!r} from {place!r}, which is no '
                       'exported workdir; config.tokenizer.files is to name the '
                       'tokenizer that it was trained with.')
  given = {part.partition('/')[0] for part, _ in c.init_from}
  for name, part in built.objective.parts.items():
    if not part.trained and name not in given:
      raise ValueError(f'config.train.objective is {c.train.objective!r}, which needs '
                       f'a {name}: a row ({name!r}, folder) of config.init_from.')
