r"""Scores a trained model.

python evaluate.py --workdir=runs/shapes --metrics=prompt_accuracy --num=512
python evaluate.py --workdir=runs/shapes --metrics=fid,kid,clip_score --num=50000

The metrics that look at pictures share --num of them, drawn once with the prompts of
--prompts; picture i of a seed is the same on any number of devices. True pictures are
those of the run's config.data, or of --config's; their statistics are made once, or
read from --reference=NAME.npz. An evaluation that was killed goes on where it was.

The scores are printed, and written into WORKDIR/evaluations/ under a name that says
what was measured. --out=NAME.json is another name for them; --out=FOLDER/ or
--out=NAME.npz keeps the pictures. --grid="guidance=1,2 x steps=20,50 x ema=0.05,0.1"
measures every combination, and ends in a table and a plot of two metrics.

--statistics=NAME.npz makes statistics of true pictures for these metrics, and no more;
--nearest=NAME.png a sheet of pictures beside the true ones that they are nearest to.
docs/evaluation.md has all.
"""
import hashlib
import importlib.util
import json
import os

from absl import flags
import jax

from console import command, files, options
from console.errors import UserError, user_errors
from console.progress import Lines, Progress
from data import images
import evaluation
from evaluation import grid as grids
from evaluation import kept, nearest, prompts, resuming, scores, statistics
from evaluation.metrics import METRICS
from inference import load, sampler
from inference.averages import posthoc_ema
from inference.generation import with_settings
from training import checkpoint, hosts, sharding, workdir as workdirs

GIVEN = ('num', 'split', 'prompts', 'order', 'reference')  # flags, keys of config.eval


def define_flags():
  options.define_config()
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('metrics', None, f'Metrics, of {sorted(METRICS)}, with commas; '
                      'by default those of the config.')
  flags.DEFINE_integer('num', 512, 'Number of pictures that the metrics share; of '
                       'prompt_accuracy, of each kind of prompts.', lower_bound=1)
  flags.DEFINE_string('split', None, 'Split of the true pictures, where a source has '
                      'splits; by default that of the config.')
  flags.DEFINE_string('prompts', None, 'Prompts of the pictures: captions (of the true '
                      'ones), classes, or a UTF-8 file with one a line.')
  flags.DEFINE_string('order', None, 'Which prompt each picture has: balanced, random.')
  flags.DEFINE_string('reference', None, 'NAME.npz: statistics of true pictures.')
  flags.DEFINE_string('grid', None, 'Settings of which every combination is measured: '
                      '"guidance=1,2 x steps=20,50 x ema=0.05,0.1".')
  flags.DEFINE_string('statistics', None, 'NAME.npz: makes statistics of the true '
                      'pictures.')
  flags.DEFINE_string('nearest', None, 'NAME.png: a sheet of --num pictures, each with '
                      'the true ones that it is nearest to.')
  flags.DEFINE_integer('seed', 0, 'Seed of the noise and of the choice of prompts.', 0,
                       2**32 - 1)
  flags.DEFINE_multi_string('out', [], 'NAME.json: where the scores go. FOLDER/ or '
                            'NAME.npz: where the pictures go.')
  options.define_hosts()
  options.define_sample()


def resolve_config(flag):
  """The run's config, with the data of --config and what the flags say."""
  if flag.workdir or not (flag.config and flag.statistics):
    c = workdirs.load_config(flag.workdir)
    if flag.config:  # true pictures at the size of the run's
      given = options.needed_config(flag).data.copy_and_resolve_references()
      del given['size']
      c.data.update(given)
  else:
    c = options.needed_config(flag)
  given = {k: flag[k].value for k in GIVEN if flag[k].value is not None}
  if flag.metrics:
    given['metrics'] = tuple(options.split_commas(flag.metrics))
  c.eval.update(given)
  options.resolve_sample(c, flag)
  return c


def outputs(flag) -> dict:
  """{'json', 'npz', 'folder': path or None} of --out."""
  found = dict.fromkeys(('json', 'npz', 'folder'))
  for path in flag.out:
    kind = os.path.splitext(path)[1][1:]
    if path.endswith('/') or os.path.isdir(path):
      kind = 'folder'
    elif kind not in found:
      raise ValueError(f'--out={path} is none of NAME.json, NAME.npz and FOLDER/.')
    else:
      files.check_new_file(path, 'out', f'.{kind}')
    if found[kind]:
      raise ValueError(f'--out is given twice for a {kind}.')
    found[kind] = path
  return found


def make_statistics(flag, c, report):
  """Writes --statistics=NAME.npz."""
  with user_errors():
    files.check_new_file(flag.statistics, 'statistics', '.npz')
    needs = evaluation.needed(evaluation.build(c), 'true')
    if not needs:
      raise ValueError(f'--metrics={",".join(c.eval.metrics)} needs no statistics of '
                       'true pictures.')
    found, about = statistics.make(c, needs, sharding.make_mesh(), report)
  if jax.process_index() == 0:
    statistics.write(flag.statistics, found, about)
    print(f'{about["source"]}: {flag.statistics}')


def name_of(c, source: str, seed: int, digest: str) -> str:
  """A name that says what was measured, and differs where anything does."""
  words = ['-'.join(c.eval.metrics)[:80], source.removesuffix('.safetensors'),
           c.sample.solver, f'{c.sample.steps}steps', f'guidance{c.sample.guidance:g}',
           f'n{c.eval.num}', f'seed{seed}', digest[:6]]
  return '-'.join(''.join(x if x.isalnum() or x in '._' else '_' for x in word)
                  for word in words)


def picture_keepers(out: dict, c, tokenizer, seed: int) -> list:
  """A kept.Keeper for each place of --out that pictures go to."""
  if not (out['folder'] or out['npz']):
    return []
  texts, labels = prompts.of_pictures(c, tokenizer, seed), None
  if prompts.by_class(c):
    names = prompts.class_names(tokenizer)
    labels = [names.index(text) for text in texts]
  return ([kept.folder(out['folder'], texts)] if out['folder'] else []) + (
      [kept.archive(out['npz'], texts, labels)] if out['npz'] else [])


def measure(flag, model, metrics, out: dict, report, again: bool = True):
  """({name: Score}, where they are), by all processes; the first writes.

  again: also where there are the scores of the same already.
  """
  c = model.config
  about = {'weights': model.source, 'seed': flag.seed, 'eval': c.eval.to_dict(),
           'sample': c.sample.to_dict()}
  identity = about | {
      'data': c.data.to_dict(), 'pictures': [out['folder'], out['npz']],
      'parameters': checkpoint.sums_of(model.params),
      'features': statistics.manifest('', 0, evaluation.needed(metrics, 'needs'))}
  digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
  folder = os.path.join(flag.workdir, 'evaluations')
  name = os.path.join(folder, name_of(c, model.source, flag.seed, digest))
  path, store = out['json'] or f'{name}.json', resuming.Store(
      f'{name}.progress', identity)
  if not again and os.path.exists(path):
    stored = files.read_json(path)
    if stored['digest'] == digest:
      return {k: scores.Score(**v) for k, v in stored['scores'].items()}, path
  keepers = picture_keepers(out, c, model.tokenizer, flag.seed)
  first = jax.process_index() == 0
  if not all(keeper.begun for keeper in keepers):
    hosts.wait_for_all('keepers')
    resuming.remove(store)  # pictures that it has done are not there
    hosts.wait_for_all('keepers')
  def keep(number, pictures):
    for keeper in keepers if first else ():
      keeper.keep(number, pictures)
  found = evaluation.measure(metrics, model, flag.seed, report, store=store,
                             keep=keep if keepers else None)
  if first:
    os.makedirs(folder, exist_ok=True)
    for keeper in keepers:
      keeper.done()
    files.write_json(path, {'scores': {k: v._asdict() for k, v in found.items()},
                            **about, 'digest': digest})
    resuming.remove(store)
  return found, path


def grid_of(flag, c, model) -> list:
  """[(cell, Model, metrics)] of --grid, all of them built before one is drawn."""
  chosen = []
  for cell in grids.cells(grids.parse(flag.grid, c.sample.keys(),
                                      options.split_commas)):
    settings = {k: v for k, v in cell.items() if k != grids.EMA}
    own = model.replace(config=with_settings(c, settings))
    sampler.check(own.module, own.config)
    if grids.EMA in cell:
      own = posthoc_ema(own, flag.workdir, cell[grids.EMA])
    chosen.append((cell, own, evaluation.build(own.config)))
  return chosen


def measure_grid(flag, c, out: dict, report, lines):
  """Measures every cell of --grid that is not measured yet; writes table and plot."""
  if importlib.util.find_spec('matplotlib') is None:
    raise UserError('the plot needs matplotlib: pip install matplotlib.')
  if flag.out:
    raise UserError('--out is for one evaluation; --grid writes into WORKDIR/'
                    'evaluations/.')
  with user_errors():
    chosen, results = grid_of(flag, c, load(flag.workdir, config=c)), []
  for cell, model, metrics in chosen:
    with user_errors():
      found, path = measure(flag, model, metrics, out, report, again=False)
    lines.say(f'{grids.name_of(cell)}: {path}')
    results.append((cell, found))
  units = evaluation.units(metrics)
  table = grids.markdown(results, units)
  lines.say(table)
  if jax.process_index() == 0:
    digest = hashlib.sha256(table.encode()).hexdigest()[:6]
    place = os.path.join(flag.workdir, 'evaluations', f'grid-{digest}')
    files.write_text(f'{place}.md', f'--grid="{flag.grid}"\n\n{table}')
    lines.say(f'{place}.md')
    if axes := grids.axes_of(metrics):
      from matplotlib import figure
      sheet = figure.Figure(layout='constrained')
      grids.plot(sheet, results, axes)
      with files.atomic_write(f'{place}.png') as new:
        sheet.savefig(new, dpi=100, format='png')
      lines.say(f'{place}.png')


def write_nearest(flag, c, report):
  """Writes --nearest=NAME.png."""
  with user_errors():
    files.check_new_file(flag.nearest, 'nearest', '.png')
    c.eval.num = flag.num if flag['num'].present else 12
    need = nearest.need_of(evaluation.needed(evaluation.build(c), 'true'))
    sheet, rows = nearest.sheet(load(flag.workdir, config=c), need, flag.seed, report)
  if jax.process_index() == 0:
    with files.atomic_write(flag.nearest) as new:
      images.write_png(new, sheet, {'rows': '\n'.join(rows)})
    print(flag.nearest)


def main(flag):
  options.join_hosts(flag, hosts.join)
  first = jax.process_index() == 0
  lines, report = Lines(first), Progress if first else None
  with user_errors():
    out, c = outputs(flag), resolve_config(flag)
  if flag.statistics:
    return make_statistics(flag, c, report)
  if flag.nearest:
    return write_nearest(flag, c, report)
  if flag.grid:
    return measure_grid(flag, c, out, report, lines)
  with user_errors():
    metrics = evaluation.build(c)
    model = load(flag.workdir, config=c)
    found, path = measure(flag, model, metrics, out, report)
  lines.say(f'{flag.workdir} ({model.source}), {c.sample.solver}, {c.sample.steps} '
            f'steps, guidance {c.sample.guidance}')
  lines.say(scores.table(found, evaluation.units(metrics)))
  for place in filter(None, (out['folder'], out['npz'], path)):
    lines.say(place)


if __name__ == '__main__':
  command.run(main, define_flags)
