r"""Takes the averaged weights of a run into a small workdir, to keep or to publish.

python export.py --workdir=runs/shapes --out=weights/shapes --dtype=float16

sample.py and evaluate.py draw from the result as from the run itself.
"""
import os
import shutil

from absl import flags

import cli
import sample
from training import mesh as meshes, weights


def define_flags():
  flags.DEFINE_string('workdir', None, 'Folder of the run.')
  flags.DEFINE_string('out', None, 'The folder to make.')
  flags.DEFINE_enum('dtype', 'float16', sorted(weights.DTYPES), 'Of what is stored.')


def main(flag):
  if not flag.out:
    raise cli.Mistake('--out=FOLDER is needed.')
  if os.path.exists(os.path.join(flag.out, 'checkpoints')):
    raise cli.Mistake(f'--out={flag.out} is the workdir of a run; give another folder.')
  c, _, _, params, source = sample.load(flag.workdir, meshes.make())
  with cli.mistakes():
    os.makedirs(flag.out, exist_ok=True)
  cli.write_text(os.path.join(flag.out, 'config.json'), c.to_json(indent=2) + '\n')
  shutil.copy(os.path.join(flag.workdir, 'tokenizer.json'), flag.out)
  path = os.path.join(flag.out, weights.FILE)
  with cli.whole(path) as new:
    weights.save(new, params, flag.dtype, {'source': source})
  print(f'{path}: {os.path.getsize(path) / 1e6:.1f} MB')


if __name__ == '__main__':
  cli.run(main, define_flags)
