r"""Scores a trained model.

python evaluate.py --workdir=runs/shapes --metrics=prompt_accuracy --num=512

Prompt accuracy: of the pictures drawn for prompts of each kind, the share that shows
exactly what was asked, with a 95% interval, and the scorer's share on true pictures.
"""
import json
import os

from absl import flags
import numpy as np

import cli
from data.sources import shapes
from evaluation import prompt_accuracy
import sample
from training import mesh as meshes

METRICS = ('prompt_accuracy',)
WORLD = prompt_accuracy.World(
    shapes.CANVAS, shapes.COLOURS, shapes.SHAPES, shapes.opacity)
KINDS = {  # of prompts, and the scenes that they are drawn from
    'one object': shapes.ONE_OBJECT,
    'two objects': shapes.SPLITS['test'],
    'unseen pairs': shapes.SPLITS['test_pairs'],
}


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_list('metrics', ['prompt_accuracy'], f'Of {list(METRICS)}.')
  flags.DEFINE_integer('num', 512, 'Pictures of each kind.', lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Of the noise and the choice.', 0, 2**32 - 1)
  flags.DEFINE_integer('steps', None, 'Of the solver; default: config.', lower_bound=1)
  flags.DEFINE_float('guidance', None, '1 is the prompt alone; default: config.')
  flags.DEFINE_string('solver', None, 'Default: config.')


def scenes_of(kind: str, num: int, seed: int):
  """`num` scenes of a kind, in a random order, none twice before all came once."""
  pool = KINDS[kind]
  rng = np.random.default_rng(seed)
  rounds = -(-num // len(pool))
  order = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])
  return [pool[i] for i in order[:num]]


def measure(draw, kinds, *, num: int, seed: int, size: int) -> dict:
  """Prompt accuracy by kind.

  Args:
    draw: prompts -> pictures uint8 [m size size 3].
    kinds: of KINDS.

  Returns:
    {kind: {'accuracy', 'low', 'high', 'n', 'scorer': accuracy on true pictures}}.
  """
  chosen = {kind: scenes_of(kind, num, seed) for kind in kinds}
  everything = [scene for scenes in chosen.values() for scene in scenes]
  pictures = draw([shapes.caption(scene) for scene in everything])
  report, rng = {}, np.random.default_rng(seed)
  for i, (kind, scenes) in enumerate(chosen.items()):
    report[kind] = prompt_accuracy.score(
        pictures[i * num:(i + 1) * num], scenes, WORLD)
    true = [shapes.draw(scene, rng, size) for scene in scenes]
    report[kind]['scorer'] = prompt_accuracy.score(true, scenes, WORLD)['accuracy']
  return report


def drawer(sampler, params, mesh, tokenizer, c, *, seed: int, scale: float):
  """prompts -> pictures, each of its own noise."""
  def draw(prompts):
    rows = sample.tokens_of(tokenizer, prompts, c.tokenizer.length)
    empty = sample.tokens_of(tokenizer, [''], c.tokenizer.length)[0]
    return sample.draw_all(sampler, params, mesh, rows, empty, np.arange(len(rows)),
                           seed=seed, scale=scale, batch=c.sample.batch)
  return draw


def table(report: dict) -> str:
  """A line a kind."""
  lines = [f'{"prompts":<14}{"right":>7}{"95% interval":>16}{"pictures":>10}'
           f'{"scorer on true pictures":>26}']
  for kind, r in report.items():
    between = f'{r["low"]:.1%} to {r["high"]:.1%}'
    lines.append(f'{kind:<14}{r["accuracy"]:>7.1%}{between:>16}{r["n"]:>10}'
                 f'{r["scorer"]:>26.1%}')
  return '\n'.join(lines)


def check(c):
  """Raises Mistake where prompt accuracy makes no sense."""
  for kind in c.eval.kinds:
    if kind not in KINDS:
      raise cli.Mistake(f'config.eval.kinds has {kind!r}, not one of {list(KINDS)}.')
  if c.data.source != 'shapes':
    raise cli.Mistake('prompt_accuracy scores the shapes world; this config draws '
                      f'config.data.source={c.data.source!r}.')


def main(flag):
  for name in flag.metrics:
    if name not in METRICS:
      raise cli.Mistake(f'--metrics={name!r} is not one of {list(METRICS)}.')
  mesh = meshes.make()
  c, tokenizer, model, params, source = sample.load(flag.workdir, mesh)
  check(c)
  scale = c.sample.guidance if flag.guidance is None else flag.guidance
  steps, solver = flag.steps or c.sample.steps, flag.solver or c.sample.solver
  with cli.mistakes():
    sampler = sample.make_sampler(
        model, c, solver=solver, steps=steps, guided=scale != 1)
  draw = drawer(sampler, params, mesh, tokenizer, c, seed=flag.seed, scale=scale)
  report = measure(draw, c.eval.kinds, num=flag.num, seed=flag.seed, size=c.data.size)
  print(f'{flag.workdir} ({source}), {solver}, {steps} steps, guidance {scale}')
  print(table(report))
  cli.write_text(os.path.join(flag.workdir, 'prompt_accuracy.json'), json.dumps(
      report | {'weights': source, 'solver': solver, 'steps': steps,
                'guidance': scale, 'seed': flag.seed}, indent=2) + '\n')


if __name__ == '__main__':
  cli.run(main, define_flags)
