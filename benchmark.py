r"""Draws the pictures of a benchmark that others judge, and reads what they found.

python benchmark.py --benchmark=geneval --prompts=evaluation_metadata.jsonl \
    --workdir=runs/mine --out=geneval_mine/
python benchmark.py --benchmark=geneval --results=results.jsonl --out=geneval.json

The pictures lie in OUT/images, as the benchmark's own code reads them. The same command
goes on where it was stopped; docs/benchmarks.md has what each benchmark takes and
gives. With --results the scores are printed and, with --out=NAME.json, kept.
"""
import os

from absl import flags
from ml_collections import config_flags

from console import command, files, options
from console.errors import UserError, user_errors, writing
from console.progress import Progress
from evaluation import scores
from evaluation.benchmarks import BENCHMARKS, drawing
from inference import loading

DRAWING = ('workdir', 'weights', 'num', 'height', 'width', 'negative', 'seed')


def define_flags():
  flags.DEFINE_enum('benchmark', None, sorted(BENCHMARKS), 'Which one.')
  flags.DEFINE_string('prompts', None, 'Its file of prompts; of dpg_bench a folder.')
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('weights', None, 'Folder of a public pipeline, in place of '
                      '--workdir.')
  flags.DEFINE_string('name', None, 'Name of the model, which oneig has for folders '
                      'and columns; by default that of the folder.')
  flags.DEFINE_string('out', None, 'FOLDER/ for the pictures; NAME.json for the scores '
                      'of --results.')
  flags.DEFINE_integer('num', None, 'Number of pictures of each prompt; by default '
                       'that of the benchmark.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Seed of the initial noise.', 0, 2**32 - 1)
  flags.DEFINE_string('negative', '', 'The prompt that guidance moves away from.')
  flags.DEFINE_integer('height', None, 'Height of the pictures in pixels; by default '
                       'that of training.', lower_bound=1)
  flags.DEFINE_integer('width', None, 'Width of the pictures in pixels; by default '
                       'that of training.', lower_bound=1)
  flags.DEFINE_list('results', None, 'What the code of the benchmark has written: '
                    'files, with commas between; of oneig the folder.')
  options.define_sample()


def read_results(flag, row):
  """Prints scores, and writes them to --out."""
  for name in (*DRAWING, *options.SHORT):
    if flag[name].present:
      raise UserError(f'--{name} is for drawing; --results reads what was found.')
  if given := sorted(config_flags.get_override_values(flag['sample'])):
    raise UserError(f'--sample.{given[0]} is for drawing; --results reads what was '
                    'found.')
  with user_errors():
    if flag.out:
      files.check_new_file(flag.out, 'out', '.json')
    found = row.scores(flag.results, flag.prompts, flag.name or '')
  print(scores.table(found, dict.fromkeys(found, row.unit)))
  if flag.out:
    files.write_json(flag.out, {
        'benchmark': flag.benchmark,
        'scores': {name: score._asdict() for name, score in found.items()}})
    print(flag.out)


def check_drawing(flag):
  """Raises UserError for flags that drawing lacks, or cannot take."""
  if not flag.prompts:
    raise UserError('--prompts is needed: the file of prompts of the benchmark. Or '
                    '--results, to read what it found.')
  if flag.weights and flag.workdir:
    raise UserError('--workdir and --weights are two models; give one of them.')
  if not flag.out or flag.out.endswith('.json'):
    raise UserError('--out=FOLDER/ is needed: where the pictures go.')
  if os.path.exists(flag.out) and not os.path.isdir(flag.out):
    raise UserError(f'--out={flag.out} is no folder.')


def main(flag):
  if not flag.benchmark:
    raise UserError(f'--benchmark is needed, one of {sorted(BENCHMARKS)}.')
  row = BENCHMARKS[flag.benchmark]
  if flag.results:
    return read_results(flag, row)
  check_drawing(flag)
  place = flag.weights or flag.workdir
  num = flag.num or row.num
  with user_errors():
    c = loading.config_of(place)
    options.resolve_sample(c, flag)
    size = options.picture_size(flag, c)
    name = flag.name or os.path.basename(os.path.abspath(place))
    items = row.items(flag.prompts, num, name)
    drawing.check(row, items, num, size)
    if flag.negative and c.sample.guidance == 1:
      raise UserError('--negative has no effect at --guidance=1; give more than 1.')
    model = loading.load(place, config=c)
    how = dict(num=num, seed=flag.seed, negative=flag.negative, size=size)
    drawing.begin(flag.out, drawing.settings_of(flag.benchmark, model, items, **how))
    left = len(drawing.missing(flag.out, items, num))
    if left < num * len(items):
      command.note(f'{num * len(items) - left:,} of {num * len(items):,} pictures are '
                   'there.')
    with writing(f'--out={flag.out}'):
      print(drawing.draw(row, items, model, flag.out, **how,
                         progress=Progress(left, 'pictures')))


if __name__ == '__main__':
  command.run(main, define_flags)
