"""Runs the commands as a user would, without paying for their imports each time."""
import json
import os
import pathlib
import signal
import subprocess
import sys

from helpers.tiny import FAST

ROOT = pathlib.Path(__file__).parent.parent.parent
COMMANDS = ('benchmark', 'evaluate', 'export', 'plan', 'play', 'report', 'sample',
            'train')
DATA = ('data.shards', 'data.sheet', 'data.tokenizers')  # what data's commands import
CLOCK = ('images_per_s', 'seconds', 'tflops_per_device', 'mfu', 'wait_data_s',
         'wait_checkpoint_s')  # what is logged of time
PLACES = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])


class Commands:
  """run(command, *flags) -> (exit code, stdout, stderr); start(...) does not wait."""

  def __init__(self, folder, server='helpers.server', imports=COMMANDS):
    self.folder, self.count = folder, 0
    self.server = subprocess.Popen(
        [sys.executable, '-m', server, *imports], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': PLACES})

  def ask(self, **case) -> int:
    self.server.stdin.write(json.dumps(case) + '\n')
    self.server.stdin.flush()
    return int(self.server.stdout.readline())

  def start(self, *argv, devices=1, env=None):
    """A Started, on so many simulated devices. env: more of its environment."""
    self.count += 1
    to = str(self.folder / f'run{self.count}')
    pid = self.ask(argv=list(map(str, argv)), to=to, env=env or {}, flags=(
        f'{FAST} --xla_force_host_platform_device_count={devices}'))
    return Started(self, pid, to)

  def run(self, *argv, devices=1):
    return self.start(*argv, devices=devices).wait()

  def close(self):
    self.server.stdin.close()
    self.server.wait()


class Started:
  """A command that runs."""

  def __init__(self, commands, pid: int, to: str):
    self.commands, self.pid, self.to = commands, pid, to

  def said(self, name: str = 'out') -> str:
    path = pathlib.Path(f'{self.to}.{name}')
    return path.read_text() if path.exists() else ''

  def ended(self) -> bool:
    stat = pathlib.Path(f'/proc/{self.pid}/stat').read_text()
    return stat.rpartition(')')[2].split()[0] == 'Z'

  def send(self, signum: signal.Signals):
    os.kill(self.pid, signum)

  def wait(self):
    """(exit code, stdout, stderr)."""
    code = self.commands.ask(wait=self.pid)
    return code, self.said('out'), self.said('err')


def train(root, name, config='tiny'):
  """Command line of a short run of a small config, in a workdir of that name."""
  return ('train.py', f'--config={root}/{config}.py', f'--workdir={root}/{name}',
          '--config.train.steps=120', '--config.train.log_every=10',
          '--config.train.checkpoint_every=30', '--config.train.sample_every=1000',
          '--config.sample.prompts=("a red ring","a blue star")')


def trained(root, commands, name):
  """The workdir of a run of ten steps."""
  code, out, err = commands.run(*train(root, name), '--config.train.steps=10',
                                '--config.train.checkpoint_every=10')
  assert code == 0, err
  return root / name


def logged(workdir):
  """What a run logged, without what the clock says."""
  lines = [json.loads(line) for line in open(workdir / 'metrics.jsonl')]
  return [{k: v for k, v in x.items() if k not in CLOCK} for x in lines]
