r"""Trains a model on captioned pictures.

python train.py --config=configs/shapes.py --workdir=runs/shapes

A workdir that holds a run is resumed, exactly. On many hosts, run the same command on
each with --distributed, and a workdir and config.data.dir that all of them see.
"""
import os
import signal
import time

from absl import flags
import jax
from jax.experimental import multihost_utils
import numpy as np

import cli
from configs import base
from data import images, loader, problems, sources, tokenizers
import drawing
import evaluate
from training import checkpoint, ema, log as logs, loss as losses, mesh as meshes
from training import optim, specs, state as states, step as steps, weights

FREE = (  # keys that a resumed run may change
    'train.steps', 'train.log_every', 'train.checkpoint_every', 'train.sample_every',
    'train.eval_every', 'train.averages_every', 'train.keep', 'train.max_skipped',
    'mesh', 'sample', 'eval', 'data.dir', 'data.path', 'data.workers', 'data.threads',
    'data.max_bad', 'data.font')


def define_flags():
  cli.define_config()
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_bool('distributed', False, 'One of many hosts: jax.distributed.')
  flags.DEFINE_string('coordinator', None, 'HOST:PORT of the first of many hosts, '
                      'where jax cannot find out, with --processes and --process.')
  flags.DEFINE_integer('processes', None, 'How many there are.', lower_bound=1)
  flags.DEFINE_integer('process', None, 'Which of them this is.', lower_bound=0)


def started(workdir: str) -> bool:
  """Whether a workdir holds a run that has a checkpoint."""
  folder = os.path.join(workdir, 'checkpoints')
  return os.path.isdir(folder) and any(name.isdigit() for name in os.listdir(folder))


def settle_config(c, workdir: str):
  """The config of this run, checked against the one that the workdir may hold."""
  if not workdir:
    raise cli.Mistake('--workdir=FOLDER is needed: it is made if it does not exist.')
  if os.path.exists(os.path.join(workdir, weights.FILE)):
    raise cli.Mistake(f'--workdir={workdir} holds exported weights; give another one.')
  if not started(workdir):
    if c is None:
      raise cli.Mistake('--config=FILE is needed, such as configs/shapes.py.')
    return c
  old = cli.workdir_config(workdir)
  if c is None:
    return old
  changed = differences(cli.plain(old), cli.plain(c))
  if locked := [k for k in changed if not k.startswith(FREE)]:
    raise cli.Mistake(f'--workdir={workdir} holds a run with another '
                      f'{", ".join("config." + k for k in locked)}; '
                      'resume it as it was, or give a new --workdir.')
  return c


def differences(a, b, at='') -> list[str]:
  """Dotted names of the leaves in which two plain configs differ."""
  if not (isinstance(a, dict) and isinstance(b, dict)):
    return [] if a == b else [at]
  return [name for k in sorted(a.keys() | b.keys())
          for name in differences(a.get(k), b.get(k), f'{at}.{k}'.lstrip('.'))]


def open_workdir(workdir: str):
  """Makes the folder and locks it for this process."""
  with cli.mistakes():
    os.makedirs(workdir, exist_ok=True)
    try:
      return checkpoint.lock(workdir)
    except BlockingIOError:
      raise cli.Mistake(f'--workdir={workdir} is in use: another train.py is writing '
                        'there.') from None


def prepare_data(c):
  """Pictures of the train split, made first if they are not there, by one process."""
  with cli.mistakes():
    if jax.process_index() == 0:
      sources.prepare(c.data)
    wait_for_all('data')
    return sources.Pictures(c.data)


def wait_for_all(name: str):
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def prepare_tokenizer(c, workdir: str, pictures):
  """The tokenizer in the workdir; of a new run, a public one or one of its captions."""
  path = os.path.join(workdir, 'tokenizer.json')
  if jax.process_index() == 0 and not started(workdir):
    with cli.mistakes():
      by_class = c.condition.name == 'class'  # whose table is the backbone's
      others = dict(c.weights).get('backbone' if by_class else 'text_encoder', '')
      if c.tokenizer.files:
        made = tokenizers.public(c.tokenizer.files)
      elif exported(others):
        made = tokenizers.load(os.path.join(others, 'tokenizer.json'))
      elif by_class:
        made = tokenizers.classes(pictures.captions(), c.condition.classes)
      else:
        made = tokenizers.train(pictures.captions(), c.tokenizer.vocab)
    cli.write_text(path, made.to_str())
  wait_for_all('tokenizer')
  with cli.mistakes():
    return tokenizers.load(path)


def of_all(tally):
  """A tally of what all processes have read."""
  counts = tally.counts.copy()
  if jax.process_count() > 1:
    counts = multihost_utils.process_allgather(counts).sum(0)
  return problems.Tally(counts)


def exported(place: str) -> bool:
  """Whether a folder is a workdir that export.py made."""
  return os.path.exists(os.path.join(place, weights.FILE))


def check_weights(c, shapes):
  """Raises ValueError for a row of config.weights that has no part, or no folder."""
  for part, place in c.weights:
    weights.part_of(shapes, part)
    if not os.path.exists(place):
      raise ValueError(f'config.weights has {part!r} from {place!r}; there is no such '
                       'folder.')
    if part.startswith('text_encoder') and not (exported(place) or c.tokenizer.files):
      raise ValueError(f'config.weights has {part!r} from {place!r}, which is no '
                       'exported workdir; config.tokenizer.files is to name the '
                       'tokenizer that it was trained with.')


def start_from_others(c, state):
  """The state of a new run, with the parts that config.weights names.

  Each is taken from an exported workdir, or from what diffusers and transformers store.
  """
  for part, place in c.weights:
    with cli.mistakes():
      shapes = weights.part_of(states.whole(state.params, state.frozen), part)
      if exported(place):
        values = weights.load(os.path.join(place, weights.FILE), shapes, part)
      else:
        from interop import weights as public  # an edge: training does without it
        values = public.load(place, shapes)
    state = states.replaced(state, part, values)
  return state


def as_it_started(c, state) -> list[str]:
  """The parts that are frozen whole and that config.weights has no row for."""
  given = {part.partition('/')[0] for part, _ in c.weights}
  return [part for part in sorted(state.frozen or ())
          if not jax.tree.leaves(state.params[part])
          and jax.tree.leaves(state.frozen[part]) and part not in given]


class Stop:
  """Turns SIGTERM and the first Ctrl-C into a wish to stop after a step."""

  def __init__(self):
    self.asked = False
    if jax.process_count() == 1:  # of many, jax.distributed listens for SIGTERM
      signal.signal(signal.SIGTERM, self.ask)
      signal.signal(signal.SIGINT, self.ask)

  def ask(self, signum, frame):
    del frame
    self.asked = True
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once

  def wanted(self, step: int) -> bool:
    """Whether to stop after this step; on many hosts, the same step on all."""
    if jax.process_count() == 1:
      return self.asked
    return multihost_utils.reached_preemption_sync_point(step)


class Previews:
  """Sample grids and prompt accuracy of the averaged weights, during training."""

  def __init__(self, c, model, tokenizer, mesh):
    self.c, self.tokenizer, self.mesh = c, tokenizer, mesh
    self.sampler = drawing.make_sampler(model, c)

  def grid(self, params):
    c = self.c.sample
    request = drawing.request_of(
        self.tokenizer, c.prompts, self.c.tokenizer.length, c.num)
    pictures = drawing.draw_all(
        self.sampler, {'strong': params}, self.mesh, request,
        np.tile(np.arange(c.num), len(c.prompts)), seed=self.c.seed, scale=c.guidance,
        batch=c.batch)
    return images.captioned(pictures, list(c.prompts), c.num)

  def accuracy(self, params):
    draw = evaluate.drawer(self.sampler, params, self.mesh, self.tokenizer, self.c,
                           seed=self.c.seed)
    return evaluate.measure(draw, self.c.eval.kinds, num=self.c.eval.num,
                            seed=self.c.seed, size=self.c.data.size)


def dry_run(c, new: bool = True):
  """Raises ValueError for anything in a config that could not be built or trained.

  new: whether a run is to start with it, so that config.weights will be read.

  Returns (mesh, optimizer, step -> learning rate, profiles of the averages).
  """
  base.check(c)
  sources.check(c.data)
  mesh = meshes.make(**c.mesh)
  meshes.check_batch(mesh, c.train.batch, c.train.accumulate)
  optimizer, rate = optim.make(c.optim, c.train.steps)
  profiles = [specs.make(ema.PROFILES, spec, 'optim.ema') for spec in c.optim.ema]
  model = drawing.build_model(c, c.tokenizer.vocab)
  losses.make(model, c.diffusion, np.zeros(c.tokenizer.length, np.int32))
  drawing.check_sampler(model, c)
  shapes = drawing.shapes_of(model, c)
  optim.check(c.optim, shapes)
  if new:
    check_weights(c, shapes)
  return mesh, optimizer, rate, profiles


def main(flag):
  if flag.distributed:
    jax.distributed.initialize(flag.coordinator, flag.processes, flag.process)
  elif flag.coordinator or flag.processes or flag.process is not None:
    raise cli.Mistake('--coordinator, --processes and --process need --distributed.')
  workdir = flag.workdir
  c = settle_config(flag.config, workdir)
  with cli.mistakes():
    mesh, optimizer, rate, profiles = dry_run(c, new=not started(workdir))
  if c.train.eval_every:
    evaluate.check(c)
  pictures = prepare_data(c)
  held = open_workdir(workdir) if jax.process_index() == 0 else None
  tokenizer = prepare_tokenizer(c, workdir, pictures)
  empty = drawing.tokens_of(tokenizer, [''], c.tokenizer.length)[0]
  model = drawing.build_model(c, tokenizer.get_vocab_size())
  draw, loss = losses.make(model, c.diffusion, empty)
  previews = Previews(c, model, tokenizer, mesh)
  if jax.process_index() == 0:
    cli.write_text(os.path.join(workdir, 'config.json'), c.to_json(indent=2) + '\n')

  # Everything that changes: the state on the devices, the place in the data.
  root = jax.random.key(c.seed)
  state, shardings = states.create(
      lambda key: drawing.init_params(model, c, key), optimizer, mesh,
      jax.random.fold_in(root, drawing.INIT), averages=len(profiles),
      frozen=lambda params: optim.frozen(c.optim, params))
  batches = loader.batches(
      pictures, tokenizer, length=c.tokenizer.length, batch=c.train.batch, seed=c.seed,
      process=jax.process_index(), processes=jax.process_count(),
      workers=c.data.workers, threads=c.data.threads)
  saved = checkpoint.Checkpoints(workdir, keep=c.train.keep, say=cli.note)
  averages = c.train.averages_every and checkpoint.Checkpoints(
      workdir, 'averages', say=cli.note)
  if saved.steps():
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(
        x.shape, x.dtype, sharding=x.sharding), state)
    with cli.mistakes():
      state = saved.restore(shapes, batches)
    if state is None:
      raise cli.Mistake(f'--workdir={workdir}: no checkpoint in it can be read.')
  else:
    state = start_from_others(c, state)
  first = int(state.step)
  if first >= c.train.steps:
    return print(
        f'{workdir} is at step {first}; config.train.steps is {c.train.steps}.')
  log = logs.Log(workdir, c.train.steps, first, writes=jax.process_index() == 0)
  count, kept = (sum(x.size for x in jax.tree.leaves(tree))
                 for tree in (state.params, state.frozen))
  log.say(f'{count:,} parameters, ' + (f'{kept:,} more frozen, ' if kept else '')
          + f'{mesh.devices.size} {jax.devices()[0].platform} device(s), '
          + (f'resumed at step {first}' if first else 'from the start'))
  if not first and (still := as_it_started(c, state)):
    log.say(f'frozen as drawn at random, for config.weights has none: {still}')
  left_out = problems.listed(pictures.problems())
  log.say(f'{len(pictures):,} pictures' + (f'; left out: {left_out}' * bool(left_out)))

  train_step = steps.compiled(
      steps.make(draw, loss, optimizer, rate, profiles,
                 accumulate=c.train.accumulate), shardings, mesh)
  stop, window, since, tally = Stop(), [], time.monotonic(), problems.Tally()
  for step in range(first + 1, c.train.steps + 1):
    batch = meshes.to_devices(next(batches), mesh)
    state, metrics = train_step(state, batch, root)
    window.append(metrics)
    end, stopping = step == c.train.steps, stop.wanted(step)
    def due(every):
      return every and (step % every == 0 or end)
    if due(c.train.log_every) or stopping:
      window = jax.device_get(window)  # the only place where the host waits
      values, now = steps.summary(window), time.monotonic()
      values |= {'images_per_s': len(window) * c.train.batch / (now - since),
                 'seconds': log.seconds()}
      known, tally = tally.bad, of_all(batches.tally)
      values['bad'] = tally.bad - known  # pictures since the last log
      log.scalars(step, values)
      log.progress(step, values)
      with cli.mistakes():
        tally.check(c.data.max_bad)
      check_finite(window, step, c.train.max_skipped)
      window, since = [], now
    pause = time.monotonic()
    if due(c.train.sample_every):
      log.picture(step, previews.grid(states.whole(state.ema[0], state.frozen)))
    if due(c.train.eval_every):
      report = previews.accuracy(states.whole(state.ema[0], state.frozen))
      log.scalars(step, {'seconds': log.seconds()} | evaluate.scalars(report))
      log.say(evaluate.table(report))
    if due(c.train.averages_every):
      averages.save_ema(step, state)
    if due(c.train.checkpoint_every) or stopping:
      saved.save(step, state, batches)
      if tally.bad:
        log.say(tally.line())
    log.paused += time.monotonic() - pause
    since += time.monotonic() - pause
    if stopping:
      log.say(f'stopped at step {step}, as asked; the same command goes on from here.')
      break
  saved.close()
  if averages:
    averages.close()
  batches.close()
  log.close()
  del held


def check_finite(window, step: int, most: int):
  """Raises Mistake where `most` steps in a row were skipped, up to step `step`."""
  rows = [int(m['skipped'][1]) for m in window]
  row = max(rows)
  if row >= most:
    at = step - len(rows) + 1 + rows.index(row)
    raise cli.Mistake(f'the gradient was not finite {row} steps in a row, up to step '
                      f'{at}; a lower config.optim.lr may help.')


if __name__ == '__main__':
  cli.run(main, define_flags)
