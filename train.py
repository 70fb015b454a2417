r"""Trains a model on captioned pictures.

python train.py --config=configs/shapes.py --workdir=runs/shapes

A workdir that holds a run is resumed, exactly. On many hosts, run the same command on
each with --distributed, and a workdir and config.data.dir that all of them see.
"""
import os

from absl import flags
import jax
from jax.experimental import multihost_utils

from console import command, options, progress
from console.errors import NotWritten, UserError, user_errors, writing
from console.files import write_json, write_text
from data import images, loader, problems, sources, survey, tokenizers
import evaluation
from evaluation import chips, planning, report, scores
from inference import dry_run, generation
from inference.loading import Model, read_part
from inference.requests import encode_prompts
from models.conditions import CONDITIONS
import training
from training import (
    bad_steps, checkpoint, hosts, profiling, run_log, sharding, trackers,
    train_state, train_step)
from training.build import drawn_params
from training import workdir as workdirs


def define_flags():
  options.define_config()
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_bool('debug_nans', False, 'Stop at the first step that is not finite, '
                    'and name the layer. Every step is waited for, which takes time.')
  options.define_hosts()


def prepare_data(c):
  """Pictures of the train split, made first if they are not there, by one process."""
  if jax.process_index() == 0:
    sources.prepare(c.data)
  hosts.wait_for_all('data')
  return sources.Pictures(c.data)


def new_tokenizer(c, pictures):
  """The tokenizer of a new run: a public one, another run's, or one of its captions."""
  by_class = getattr(CONDITIONS[c.condition.name], 'by_class', False)
  part = 'backbone' if by_class else 'text_encoder'  # which has the table of tokens
  other = dict(c.init_from).get(part, '')
  if c.tokenizer.files:
    t = c.tokenizer
    made = tokenizers.public(t.files, t.lower, t.absent)
  elif workdirs.exported(other):
    made = tokenizers.load(workdirs.tokenizer_path(other))
  elif by_class:
    made = tokenizers.classes(pictures.captions(), c.condition.classes)
  else:
    made = tokenizers.train(pictures.captions(), c.tokenizer.vocab)
  return tokenizers.add(made, c.tokenizer.added)


def initial_parts(c, built) -> dict:
  """{part: values} of config.init_from, on the host."""
  shapes = train_state.combine(built.shapes.params, built.shapes.frozen)
  parts = {part: read_part(part, place, shapes, built.objective.parts,
                           built.module.optional_params)
           for part, place in c.init_from}
  if 'backbone' in parts:
    parts['backbone'] = built.module.backbone.started(parts['backbone'],
                                                      shapes['backbone'])
  return parts


def build_training(c, mesh, tokenizer):
  """The Training of a config and a tokenizer."""
  null_tokens = encode_prompts(tokenizer, [''], c.tokenizer.length)[0]
  return training.build(c, mesh, vocab=tokenizer.get_vocab_size(),
                        null_tokens=null_tokens)


def start(c, workdir: str, mesh, pictures):
  """(Training, tokenizer, {part: values}, lock) of a run; writes nothing if it fails.

  Of a new run the first process makes the tokenizer, for all, and opens the workdir.
  """
  path, new = workdirs.tokenizer_path(workdir), not workdirs.started(workdir)
  first, lock = jax.process_index() == 0, None
  if not first:
    hosts.wait_for_all('tokenizer')
  tokenizer = new_tokenizer(c, pictures) if new and first else tokenizers.load(path)
  built = build_training(c, mesh, tokenizer)
  parts = initial_parts(c, built) if new else {}
  if first:
    lock = workdirs.open_workdir(workdir)
    if new:
      write_text(path, tokenizer.to_str())
      write_json(workdirs.data_path(workdir),
                 survey.survey(pictures, tokenizer, c.tokenizer.length))
    workdirs.save_config(workdir, c)
    hosts.wait_for_all('tokenizer')
  return built, tokenizer, parts, lock


def of_all(tally):
  """A tally of what all processes have read."""
  counts = tally.counts.copy()
  if jax.process_count() > 1:
    counts = multihost_utils.process_allgather(counts).sum(0)
  return problems.Tally(counts)


def preview(c, model):
  """A grid of pictures of config.sample.prompts, uint8 [h w 3]."""
  pictures = generation.generate(model, list(c.sample.prompts), num=c.sample.num,
                                 seed=c.seed)
  return images.captioned(pictures, list(c.sample.prompts), c.sample.num)


def open_log(c, workdir: str, first: int):
  """The Log of a run that goes on after step `first`; one process writes it."""
  if jax.process_index():
    return run_log.Log(workdir, c.train.steps, first, writes=False)
  with user_errors():
    return run_log.Log(workdir, c.train.steps, first,
                       track=trackers.Trackers(c, workdir, first))


def describe(c, built, state, first: int) -> list[str]:
  """Lines about a run that is about to go on at step `first`."""
  kept = train_state.count(state.frozen)
  mesh = built.mesh.devices
  lines = [f'{train_state.count(state.params):,} parameters, '
           + (f'{kept:,} more frozen, ' if kept else '')
           + f'{mesh.size} {mesh.flat[0].platform} device(s), '
           + (f'resumed at step {first}' if first else 'from the start')]
  if not first and (still := random_frozen(c, state)):
    lines.append('frozen as drawn at random, for config.init_from has none: '
                 f'{still}')
  return lines


def random_frozen(c, state) -> list[str]:
  """The parts that are frozen whole and that config.init_from has no row for."""
  given = {part.partition('/')[0] for part, _ in c.init_from}
  return [part for part in sorted(state.frozen or ())
          if not jax.tree.leaves(state.params[part])
          and jax.tree.leaves(state.frozen[part]) and part not in given]


def restore(workdir: str, saved, shapes, *others):
  """The newest state of a run that has checkpoints, with others set as they were."""
  with user_errors():
    state = saved.restore(shapes, *others)
  if state is None:
    raise UserError(f'--workdir={workdir}: no checkpoint in it can be read.')
  return state


def main(flag):
  options.join_hosts(flag, hosts.join)
  try:
    with writing(f'--workdir={flag.workdir}'):
      train(flag)
  except NotWritten:
    with command.exit_codes(os._exit):  # what is not written yet would fail once more
      raise


def train(flag):
  """Trains to the end, or until it is asked to stop."""
  workdir = flag.workdir
  with user_errors():
    c = workdirs.resolve_config(flag.config, workdir)
    mesh = dry_run.check(c, new=not workdirs.started(workdir))
    evaluations = evaluation.planned(c)
    pictures = prepare_data(c)
    built, tokenizer, parts, lock = start(c, workdir, mesh, pictures)

  # Everything that changes: the state on the devices, the place in the data.
  root = jax.jit(lambda: jax.random.key(c.seed),
                 out_shardings=sharding.replicated(mesh))()
  state = built.create()
  batches = loader.batches(
      pictures, tokenizer, length=c.tokenizer.length, batch=c.train.batch, seed=c.seed,
      process=jax.process_index(), processes=jax.process_count(),
      workers=c.data.workers, threads=c.data.threads)
  saved = checkpoint.Checkpoints(workdir, keep=c.train.keep)
  averages = c.train.averages_every and checkpoint.Checkpoints(workdir, 'averages')
  best = c.eval.best and checkpoint.Best(
      workdir, c.eval.best, evaluation.higher_is_better(evaluations, c.eval.best))
  watch = bad_steps.Watch(workdir, c.train.spike, c.train.max_skipped,
                          writes=jax.process_index() == 0)
  batches.passed, shapes = watch.passed(), checkpoint.shapes_of(state)
  if saved.steps():
    state = restore(workdir, saved, shapes, batches, watch)
  for part, values in parts.items():
    state = train_state.with_part(state, part, values)
  if c.tokenizer.added and not saved.steps():
    state = train_state.with_new_tokens(
        state, tokenizers.starts(tokenizer, c.tokenizer.added), parts)
  first = int(state.step)
  if first >= c.train.steps:
    return print(
        f'{workdir} is at step {first}; config.train.steps is {c.train.steps}.')

  log = open_log(c, workdir, first)
  lines = progress.Lines(active=jax.process_index() == 0)
  for line in describe(c, built, state, first):
    lines.say(line)
  left_out = problems.listed(pictures.problems())
  lines.say(f'{len(pictures):,} pictures'
            + (f'; left out: {left_out}' * bool(left_out)))
  model = Model(c, tokenizer, built.module, None, mesh, 'training')
  def averaged():
    params = train_state.combine(state.ema[0], state.frozen)
    return model.replace(params=drawn_params(built.objective, params))

  stop, window, tally, profile = hosts.Stop(), [], problems.Tally(), (
      profiling.Profile(workdir, c.train.profile))
  step, flops, peak = first, None, chips.peak_flops(mesh.devices.flat[0].device_kind)
  while step < c.train.steps:
    step += 1
    with profile.step(step):
      with log.waiting('data'):
        batch = sharding.shard_local(next(batches), mesh)
      with jax.transfer_guard('disallow'):  # all that it takes lies on the devices
        state, step_metrics = built.step(state, batch, root)
    profile.after(step, state)
    window.append(step_metrics | {'step': step, 'batch': batches.given - 1})
    if flag.debug_nans and jax.device_get(step_metrics['skipped'])[1]:
      row = bad_steps.Row(step, batches.given - 1, batches.given, 1, 0)
      with user_errors():
        bad_steps.go_back(c.train, built, state, batches, root, row, watch)
    end, stopping = step == c.train.steps, stop.wanted(step)
    def due(every):
      return every and (step % every == 0 or end)
    if due(c.train.log_every) or stopping:
      window = jax.device_get(window)  # the only place where the host waits
      flops = flops or planning.model_flops(c, built, state, batch, root)
      values = train_step.summary(window) | log.speed(
          len(window), c.train.batch, flops / mesh.size, peak)
      known, tally = tally, of_all(batches.tally)
      values |= problems.Tally(tally.counts - known.counts).logged()
      log.scalars(step, values)
      (lines.say if end else lines.rewrite)(log.progress(step, values))
      row, window = watch.see(window), []
      with user_errors():
        tally.check_share(c.data.max_bad)
        if row:
          lines.say(bad_steps.go_back(c.train, built, state, batches, root, row, watch,
                                      saved))
      if row:
        state = None  # its memory is needed
        state = restore(workdir, saved, shapes, batches, watch)
        step = int(state.step)
        log.close()
        log = open_log(c, workdir, step)
        if stopping:
          break
        continue
    with log.pausing():
      if due(c.train.sample_every):
        lines.say(log.picture(step, preview(c, averaged())))
      if now_due := [one for one in evaluations if due(one.every)]:
        found = evaluation.measure_all(now_due, averaged(), c.seed)
        log.scalars(step, {'seconds': log.seconds()} | scores.scalars(found)
                    | scores.interval_ends(found))
        lines.say(scores.table(found, {k: v for one in now_due
                                       for k, v in one.units.items()}))
        if best and best.improves(found):
          best.save(step, state, found)
      with log.waiting('checkpoint'):
        if due(c.train.averages_every):
          averages.save_ema(step, state)
        if (due(c.train.checkpoint_every) or stopping) and (end or not watch.row):
          saved.save(step, state, batches, watch)
      if tally.bad and due(c.train.checkpoint_every):
        lines.say(tally.line())
    if stopping:
      place = 'the last checkpoint, before bad steps' if watch.row else 'here'
      lines.say(f'stopped at step {step}, as asked; the same command goes on from '
                f'{place}.')
      break
  for kept in filter(None, (saved, averages, best, batches, profile)):
    kept.close()
  if jax.process_index() == 0:
    lines.say(log.page(report.write(workdir)))
  log.close()
  del lock


if __name__ == '__main__':
  command.run(main, define_flags)
