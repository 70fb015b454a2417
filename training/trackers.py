"""Where a run's numbers, pictures, config and report go beside its workdir, by name.

config.train.trackers names them, each with its options: "wandb(project='shapes')". A
row is (given, **options) -> Tracker; a run that goes on keeps the identity that a
tracker knows it by, in trackers.json of its workdir.
"""
from collections.abc import Callable
import importlib.util
import os
import time
from typing import Any, NamedTuple
import uuid

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

from console import files
from console.errors import disk_error, one_line, tell
from diffusion import specs


class Given(NamedTuple):
  """What a tracker is made of.

  Attributes:
    workdir: of the run.
    config: JSON of the run's config.
    step: after which it goes on; 0 for a new run.
    identity: name -> the identity of this run there, kept in the workdir.
  """
  workdir: str
  config: dict
  step: int
  identity: Callable

  @property
  def name(self) -> str:
    """Of the run: the last part of its workdir."""
    return os.path.basename(os.path.abspath(self.workdir))


class Tracker(NamedTuple):
  """Attributes:
    scalars: (step, {name: number}) -> None.
    picture: (step, uint8 [h w 3]) -> None, the grid of samples.
    page: path of an HTML file -> None, the report.
    close: () -> None.
  """
  scalars: Callable
  picture: Callable
  page: Callable
  close: Callable


class Board:
  """A file of TensorBoard's events, written as they are told: tensorboardX's own writer
  has a thread, which a full disk ends, and whose caller then waits for ever."""

  def __init__(self, folder: str, step: int):
    """step: after which a run goes on; what was told of later ones is hidden."""
    os.makedirs(folder, exist_ok=True)
    self.file = EventsWriter(os.path.join(folder, 'events'))
    if step:
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self.file.write_event(event_pb2.Event(step=step + 1, session_log=start))

  def add(self, step: int, *summaries):
    for one in summaries:
      self.file.write_event(event_pb2.Event(step=step, wall_time=time.time(),
                                            summary=one))
    self.file.flush()


def tensorboard(given: Given) -> Tracker:
  """WORKDIR/tensorboard; of the report its path."""
  board = Board(os.path.join(given.workdir, 'tensorboard'), given.step)
  if not given.step:
    board.add(0, summary.text('config', '\n'.join(
        f'    {key}: {value}' for key, value in flat(given.config).items())))
  return Tracker(
      lambda step, values: board.add(step, *(
          summary.scalar(name, value) for name, value in values.items())),
      lambda step, grid: board.add(step, summary.image('samples', grid,
                                                       dataformats='HWC')),
      lambda path: board.add(0, summary.text('report', path)), board.file.close)


def wandb(given: Given, project: str = 'text-to-image',
          mode: str = 'online') -> Tracker:
  """Weights & Biases, `mode` of which is 'online' or 'offline', into WORKDIR/wandb."""
  import wandb as library
  if mode not in ('online', 'offline'):
    raise ValueError(f"mode is {mode!r}; it must be 'online' or 'offline'.")
  run = library.init(project=project, name=given.name, id=given.identity('wandb'),
                     dir=given.workdir, config=given.config, mode=mode, resume='allow')
  run.define_metric('*', step_metric='step')  # a run that goes on may take steps back
  return Tracker(
      lambda step, values: run.log({'step': step} | values),
      lambda step, grid: run.log({'step': step, 'samples': library.Image(grid)}),
      lambda path: run.log({'report': library.Html(path)}), run.finish)


def trackio(given: Given, project: str = 'text-to-image', space: str = '') -> Tracker:
  """trackio: on this machine, or in a Space of the Hugging Face hub."""
  import trackio as library
  run = library.init(project=project, name=given.identity('trackio'),
                     config=given.config, space_id=space or None, resume='allow',
                     embed=False)
  return Tracker(
      lambda step, values: run.log(values, step=step),
      lambda step, grid: run.log({'samples': library.Image(grid)}, step=step),
      lambda path: run.log({'report': library.Html(path)}), run.finish)


def mlflow(given: Given, experiment: str = 'text-to-image', uri: str = '') -> Tracker:
  """MLflow at a tracking `uri`; without one, WORKDIR/mlflow.db and WORKDIR/mlflow."""
  from mlflow import MlflowClient, entities
  place = os.path.abspath(given.workdir)
  client = MlflowClient(uri or f'sqlite:///{place}/mlflow.db')
  found = client.get_experiment_by_name(experiment)
  number = found.experiment_id if found else client.create_experiment(
      experiment, None if uri else f'file://{place}/mlflow')
  tag = given.identity('mlflow')
  runs = client.search_runs([number], f"tags.run = '{tag}'")
  run = (runs[0] if runs else client.create_run(
      number, run_name=given.name, tags={'run': tag})).info.run_id
  client.set_terminated(run, 'RUNNING')
  client.log_dict(run, given.config, 'config.json')
  def scalars(step, values):
    now = int(time.time() * 1000)
    client.log_batch(run, [entities.Metric(name, value, now, step)
                           for name, value in values.items()])
  return Tracker(
      scalars, lambda step, grid: client.log_image(run, grid, f'samples/{step}.png'),
      lambda path: client.log_artifact(run, path),
      lambda: client.set_terminated(run))


TRACKERS = {'tensorboard': tensorboard, 'wandb': wandb, 'trackio': trackio,
            'mlflow': mlflow}
NEED_PACKAGE = 'wandb', 'trackio', 'mlflow'  # rows that need one of their name


def check(chosen):
  """Raises ValueError for a tracker that is none, or whose package is not here."""
  if not isinstance(chosen, tuple) or len({str(spec) for spec in chosen}) < len(chosen):
    raise ValueError(f'config.train.trackers is {chosen!r}; it must be names, each '
                     f'once, of {sorted(TRACKERS)}.')
  for spec in chosen:
    name, _ = specs.check(TRACKERS, spec, 'train.trackers')
    if name in NEED_PACKAGE and importlib.util.find_spec(name) is None:
      raise ValueError(f'config.train.trackers has {spec!r}, which needs a package: '
                       f'pip install {name}.')


class Trackers:
  """Those of a run: each call goes to all. One that fails is left out, and told."""

  def __init__(self, c, workdir: str, step: int):
    """Raises ValueError where one cannot be begun.

    c: config of the run. step: after which it goes on.
    """
    given = Given(workdir, c.to_dict(), step, lambda name: identity(workdir, name))
    self.open = {}
    for spec in c.train.trackers:
      try:
        self.open[spec] = specs.build(TRACKERS, spec, 'train.trackers', given=given)
      except Exception as e:  # any, of a library or a network
        if disk_error(e) or isinstance(e, ValueError):
          raise
        raise ValueError(f'config.train.trackers has {spec!r}, which cannot be begun: '
                         f'{one_line(e)}') from e

  def __call__(self, what: str, *values: Any):
    """what: a field of Tracker; values: what that takes."""
    for spec, tracker in list(self.open.items()):
      try:
        getattr(tracker, what)(*values)
      except Exception as e:  # a network is no reason to end a run of days
        if disk_error(e):
          raise
        del self.open[spec]
        tell(f'config.train.trackers has {spec!r}, which failed and is left out from '
             f'here: {one_line(e)}')


def identity(workdir: str, name: str) -> str:
  """What a tracker knows a run by: drawn once, and kept in trackers.json."""
  path = os.path.join(workdir, 'trackers.json')
  known = files.read_json(path) if os.path.exists(path) else {}
  if name not in known:
    last = os.path.basename(os.path.abspath(workdir))
    known[name] = f'{last}-{uuid.uuid4().hex[:8]}'
    files.write_json(path, known)
  return known[name]


def flat(config: dict, at: str = '') -> dict:
  """{'a': {'b': 1}} -> {'a.b': 1}."""
  return {name: leaf for key, value in config.items() for name, leaf in (
      flat(value, f'{at}{key}.').items() if isinstance(value, dict)
      else [(f'{at}{key}', value)])}
