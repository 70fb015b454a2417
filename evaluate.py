r"""Scores a trained model.

python evaluate.py --workdir=runs/shapes --metrics=prompt_accuracy --num=512

prompt_accuracy: of the pictures drawn for prompts of each kind, the share that shows
exactly what was asked, with a 95% interval, and the scorer's share on true pictures.
bits_per_dim: of pictures of --split, with --steps steps of the ODE; vlb: their
variational bound by the discrete steps of training. The scores are printed, and written
into WORKDIR/evaluations/ under a name that says what was measured, or to --out.
"""
import os

from absl import flags

from console import command, files, options
from console.errors import UserError, user_errors
from console.progress import Progress
import evaluation
from evaluation import scores
from evaluation.metrics import METRICS
from inference import load
from training import workdir as workdirs


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_list('metrics', None, f'Metrics, of {sorted(METRICS)}; by default those '
                    'of the config.')
  flags.DEFINE_integer('num', 512, 'Number of pictures of each kind.', lower_bound=1)
  flags.DEFINE_string('split', None, 'Split of the pictures that bits_per_dim and vlb '
                      'measure, where a source has splits; by default that of the '
                      'config.')
  flags.DEFINE_integer('seed', 0, 'Seed of the noise and of the choice of prompts.', 0,
                       2**32 - 1)
  flags.DEFINE_string('out', None, 'NAME.json: where the scores go.')
  options.define_sample()


def result_path(flag, c, source: str) -> str:
  """Where the scores go: a name that says what was measured."""
  if flag.out:
    return flag.out
  folder = os.path.join(flag.workdir, 'evaluations')
  os.makedirs(folder, exist_ok=True)
  words = [*c.eval.metrics, source.removesuffix('.safetensors'), c.sample.solver,
           f'{c.sample.steps}steps', f'guidance{c.sample.guidance:g}',
           f'n{c.eval.num}', f'seed{flag.seed}']
  name = '-'.join(''.join(x if x.isalnum() or x in '._' else '_' for x in word)
                  for word in words)
  return os.path.join(folder, f'{name}.json')


def main(flag):
  with user_errors():
    if flag.out:
      files.check_new_file(flag.out, 'out', '.json')
    c = workdirs.load_config(flag.workdir)
  unknown = sorted(set(flag.metrics or ()) - set(METRICS))
  if unknown:
    raise UserError(f'--metrics={unknown[0]!r} is not one of {sorted(METRICS)}.')
  c.eval.update(dict(num=flag.num, metrics=tuple(flag.metrics or c.eval.metrics),
                     split=flag.split or c.eval.split))
  options.resolve_sample(c, flag)
  with user_errors():
    metrics = evaluation.build(c)
    model = load(flag.workdir, config=c)
    found = evaluation.measure(metrics, model, flag.seed, Progress)
    path = result_path(flag, c, model.source)
  print(f'{flag.workdir} ({model.source}), {c.sample.solver}, {c.sample.steps} steps, '
        f'guidance {c.sample.guidance}')
  print(scores.table(found, evaluation.units(metrics)))
  files.write_json(path, {
      'scores': {name: score._asdict() for name, score in found.items()},
      'weights': model.source, 'seed': flag.seed, 'eval': c.eval.to_dict(),
      'sample': c.sample.to_dict()})
  print(path)


if __name__ == '__main__':
  command.run(main, define_flags)
