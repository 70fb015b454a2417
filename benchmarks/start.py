r"""Times what a user waits for: from the shell to a picture, --help, an import.

python benchmarks/start.py --workdir=weights/shapes

Each is a process of its own, `import jax` the peer that none can be faster than; they
take turns, after a first round that fills the cache of compiled programs. Prints median
seconds, and the median and quartiles of each over `import jax` of the same round.
"""
import os
import resource
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from absl import flags
import numpy as np

from benchmarks import kept
from console import command
from console.errors import UserError


def define_flags():
  flags.DEFINE_string('workdir', 'weights/shapes', 'Folder of the run.')
  flags.DEFINE_integer('steps', 20, 'Number of steps of the picture.', lower_bound=1)
  flags.DEFINE_integer('rounds', 7, 'Number of rounds.', lower_bound=1)


def seconds(command) -> tuple[float, float]:
  """(wall, CPU) of a process."""
  before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
  done = subprocess.run([sys.executable, *command], capture_output=True, cwd=ROOT)
  wall, after = time.perf_counter() - start, resource.getrusage(
      resource.RUSAGE_CHILDREN)
  if done.returncode:
    raise UserError(f'{" ".join(command)} failed: {done.stderr.decode().strip()}')
  return wall, sum(getattr(after, key) - getattr(before, key)
                   for key in ('ru_utime', 'ru_stime'))


def main(flag):
  with tempfile.TemporaryDirectory() as folder:
    what = {
        'import jax': ['-c', 'import jax'],
        'import inference': ['-c', 'import inference'],
        'sample.py --help': ['sample.py', '--help'],
        f'a picture of {flag.steps} steps': [
            'sample.py', f'--workdir={flag.workdir}', '--prompt=a red circle',
            f'--steps={flag.steps}', f'--out={folder}/a.png'],
    }
    times = np.array([[seconds(command) for command in what.values()]
                      for _ in range(flag.rounds + 1)])[1:]
  print(kept.HEAD)
  for i, name in enumerate(what):
    if i:
      print(kept.line(kept.row(name, 'import jax', times[:, i], times[:, 0], cpu=True)))


if __name__ == '__main__':
  command.run(main, define_flags)
