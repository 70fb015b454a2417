r"""Inception's features: pictures a second of ours against torch-fidelity's.

python benchmarks/features.py --torch=/path/to/python

Of the same random weights (one file, which ours reads through interop.convert) and the
same pictures, uint8 as they are sampled, so that each side's resize is in it. Each side
is a process of its own that is started once and waits; they take turns, round after
round, and the ratio is the median over rounds. --torch is a Python that has torch,
torch-fidelity and safetensors; by default the one that runs this.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]

from absl import flags
import numpy as np

from console import command
from console.errors import UserError
from helpers import seeded

SHAPES = ROOT / 'tests' / 'fixtures' / 'features.json'


def define_flags():
  flags.DEFINE_string('torch', sys.executable, 'The Python of the other side.')
  flags.DEFINE_integer('size', 64, 'Pixels a side of the pictures.', lower_bound=1)
  flags.DEFINE_integer('batch', 16, 'Number of pictures at once.', lower_bound=1)
  flags.DEFINE_integer('rounds', 5, 'Number of rounds of turns.', lower_bound=1)


def ours(folder: pathlib.Path):
  """uint8[b h w 3] -> f32[b 2048]."""
  import jax
  from evaluation import features
  subprocess.run([sys.executable, '-m', 'interop.convert', folder / 'inception.pth',
                  f'--out={folder}/inception.safetensors'], check=True, cwd=ROOT,
                 stdout=subprocess.DEVNULL)
  net = features.load('inception', str(folder / 'inception.safetensors'))
  params, apply = jax.device_put(net.params), jax.jit(net.apply)
  return lambda images: np.asarray(apply(params, net.preprocess(images))['pool'])


def torch_fidelity(folder: pathlib.Path):
  """The same of torch-fidelity; writes the file of weights first."""
  import torch
  from torch_fidelity import feature_extractor_inceptionv3
  state = {name: torch.tensor(value) for name, value in seeded.state(
      json.loads(SHAPES.read_text())['inception']).items()}
  counts = {name.replace('running_var', 'num_batches_tracked'): torch.tensor(0)
            for name in state if name.endswith('running_var')}
  torch.save(state | counts, folder / 'inception.pth')
  net = feature_extractor_inceptionv3.FeatureExtractorInceptionV3(
      'inception', ['2048'], str(folder / 'inception.pth'))

  def features(images):
    with torch.no_grad():
      return net(torch.tensor(images.transpose(0, 3, 1, 2)))[0].numpy()
  return features


def work(side: str, folder: str, size: str, batch: str):
  """A side: for each line on stdin, seconds of a batch and a batch's features."""
  run = {'ours': ours, 'torch-fidelity': torch_fidelity}[side](pathlib.Path(folder))
  images = seeded.pictures(int(batch), int(size), int(size), 3)
  run(images)
  print('ready', flush=True)
  for _ in sys.stdin:
    start = time.perf_counter(), time.process_time()
    found = run(images)
    print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1],
                      found[:2].tolist()]), flush=True)


class Side:
  """A process that works when it is asked to."""

  def __init__(self, python: str, *args):
    self.process = subprocess.Popen(
        [python, __file__, '--work', *map(str, args)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if self.process.stdout.readline().strip() != 'ready':
      raise UserError(f'{python} cannot run {args[0]}; it needs its packages.')

  def turn(self):
    """(seconds, seconds of processors, features)."""
    self.process.stdin.write('go\n')
    self.process.stdin.flush()
    wall, busy, found = json.loads(self.process.stdout.readline())
    return wall, busy, np.array(found)


def main(flag):
  with tempfile.TemporaryDirectory() as folder:
    args = folder, flag.size, flag.batch
    sides = {'torch-fidelity': Side(flag.torch, 'torch-fidelity', *args),
             'ours': Side(sys.executable, 'ours', *args)}
    rounds = [{name: side.turn() for name, side in sides.items()}
              for _ in range(flag.rounds)]
    for side in sides.values():
      side.process.stdin.close()
      side.process.wait()
  a, b = (rounds[0][name][2] for name in ('ours', 'torch-fidelity'))
  print(f'{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {flag.size} pixels, '
        f'{flag.batch} pictures at once, {flag.rounds} rounds; features differ by '
        f'{np.abs(a - b).max() / np.abs(b).max():.1e} of the largest')
  for i, what in enumerate(('a second', 'a second of processors')):
    rate = {name: flag.batch / statistics.median(r[name][i] for r in rounds)
            for name in ('ours', 'torch-fidelity')}
    ratios = sorted(r['torch-fidelity'][i] / r['ours'][i] for r in rounds)
    print(f'images {what}: ' + ', '.join(f'{n} {x:.2f}' for n, x in rate.items())
          + f'; ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to '
          f'{ratios[-1]:.2f})')


if __name__ == '__main__':
  if sys.argv[1:2] == ['--work']:
    work(*sys.argv[2:])
  else:
    command.run(main, define_flags)
