r"""Takes the averaged weights of a run into a small workdir, to keep or to publish.

python export.py --workdir=runs/shapes --out=weights/shapes --dtype=float16

sample.py and evaluate.py draw from the result as from the run itself. --ema=0.07 makes
the average of that width from those that the run stored: config.train.averages_every.
"""
import os
import shutil

from absl import flags
import jax
import jax.numpy as jnp

import cli
import drawing
from training import checkpoint, ema, mesh as meshes, specs, weights


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('out', None, 'The folder to make.')
  flags.DEFINE_float('ema', None, 'Relative width of an average to make, to 0.288.')
  flags.DEFINE_enum('dtype', 'float16', sorted(weights.DTYPES), 'Of what is stored.')


def afterwards(run, workdir: str, std: float):
  """(parameters, origin) of an average made from stored ones: training.ema."""
  profiles = [specs.parse(spec, 'config.optim.ema') for spec in run.c.optim.ema]
  widths = [options.get('std', 0.1) for name, options in profiles if name == 'power']
  stored = checkpoint.Checkpoints(workdir, 'averages', read_only=True, say=cli.note)
  steps = sorted(stored.steps()) if os.path.isdir(f'{workdir}/averages') else []
  if len(widths) < len(profiles) or not steps:
    raise cli.Mistake(f'--ema needs a run with config.train.averages_every above 0 and '
                      f'config.optim.ema of power profiles alone; {workdir} has '
                      f'{len(steps)} stored averages of {list(run.c.optim.ema)}.')
  with cli.mistakes():
    share = ema.coefficients(
        [(step, width) for step in steps for width in widths], steps[-1], std)
  whole = jax.tree.leaves(run.params)[0].sharding
  shapes = drawing.averages_of(run.c, run.params, whole)
  total = jax.tree.map(jnp.zeros_like, run.params)
  for step, some in zip(steps, share.reshape(len(steps), len(widths))):
    found = stored.restore_ema(shapes, [step])
    if found is None:
      raise cli.Mistake(f'--ema: the averages of step {step} cannot be read.')
    for weight, tree in zip(some, found[1]):
      total = jax.tree.map(lambda x, y, w=weight: x + w * y, total, tree)
  return total, f'step {steps[-1]}, power(std={std})'


def main(flag):
  if not flag.out:
    raise cli.Mistake('--out=FOLDER is needed.')
  if os.path.exists(os.path.join(flag.out, 'checkpoints')):
    raise cli.Mistake(f'--out={flag.out} is the workdir of a run; give another folder.')
  if os.path.abspath(flag.out) == os.path.abspath(flag.workdir or ''):
    raise cli.Mistake(f'--out={flag.out} is --workdir; give another folder.')
  run = drawing.load(flag.workdir, meshes.make())
  params, source = run.params, run.source
  if flag.ema:
    params, source = afterwards(run, flag.workdir, flag.ema)
  with cli.mistakes():
    os.makedirs(flag.out, exist_ok=True)
  cli.write_text(os.path.join(flag.out, 'config.json'), run.c.to_json(indent=2) + '\n')
  shutil.copy(os.path.join(flag.workdir, 'tokenizer.json'), flag.out)
  path = os.path.join(flag.out, weights.FILE)
  with cli.whole(path) as new:
    weights.save(new, params, flag.dtype, {'source': source})
  print(f'{path}: {os.path.getsize(path) / 1e6:.1f} MB')


if __name__ == '__main__':
  cli.run(main, define_flags)
