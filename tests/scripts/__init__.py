"""Runs the scripts as a user would, without paying for their imports each time.

One process imports everything, then forks for each command line.
"""
import json
import os
import pathlib
import signal
import subprocess
import sys

from conftest import FAST

ROOT = pathlib.Path(__file__).parent.parent.parent
FORK = r"""
import gc, json, os, sys
gc.collect()
gc.freeze()  # what is imported stays
for line in sys.stdin:
  case = json.loads(line)
  if 'wait' in case:
    print(os.waitstatus_to_exitcode(os.waitpid(case['wait'], 0)[1]), flush=True)
    continue
  pid = os.fork()
  if not pid:
    for fd, name in ((1, 'out'), (2, 'err')):
      os.dup2(os.open(case['to'] + '.' + name, os.O_WRONLY | os.O_CREAT), fd)
    sys.argv = case['argv']
    os.environ['XLA_FLAGS'] = case['flags']
    code = 0
    try:
      run()
    except SystemExit as e:
      code = e.code or 0
    except BaseException:
      import traceback; traceback.print_exc()
      code = 1
    sys.stdout.flush(); sys.stderr.flush()
    os._exit(code)
  print(pid, flush=True)
"""
SERVER = r"""
import sys
import evaluate, export, sample, train, cli
def run():
  module = sys.modules[sys.argv[0].removesuffix('.py')]
  cli.run(module.main, module.define_flags)
""" + FORK
DATA = r"""
import runpy, sys
from data import command, shards, sheet, tokenizers
def run():
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)
""" + FORK  # for argv[0] such as data.prepare


class Scripts:
  """run(script, *flags) -> (exit code, stdout, stderr); start(...) does not wait."""

  def __init__(self, folder, server=SERVER):
    self.folder, self.count = folder, 0
    self.server = subprocess.Popen(
        [sys.executable, '-c', server], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=os.environ | {'JAX_PLATFORMS': 'cpu'})

  def ask(self, **case) -> int:
    self.server.stdin.write(json.dumps(case) + '\n')
    self.server.stdin.flush()
    return int(self.server.stdout.readline())

  def start(self, *argv, devices=1):
    """A Started, on so many simulated devices."""
    self.count += 1
    to = str(self.folder / f'run{self.count}')
    pid = self.ask(argv=list(map(str, argv)), to=to, flags=(
        f'{FAST} --xla_force_host_platform_device_count={devices}'))
    return Started(self, pid, to)

  def run(self, *argv, devices=1):
    return self.start(*argv, devices=devices).wait()

  def close(self):
    self.server.stdin.close()
    self.server.wait()


class Started:
  """A script that runs."""

  def __init__(self, scripts, pid: int, to: str):
    self.scripts, self.pid, self.to = scripts, pid, to

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
    code = self.scripts.ask(wait=self.pid)
    return code, self.said('out'), self.said('err')


def train(root, name, config='tiny'):
  """Command line of a short run of a small config, in a workdir of that name."""
  return ('train.py', f'--config={root}/{config}.py', f'--workdir={root}/{name}',
          '--config.train.steps=120', '--config.train.log_every=10',
          '--config.train.checkpoint_every=30', '--config.train.sample_every=1000',
          '--config.sample.prompts=("a red ring","a blue star")')


def logged(workdir):
  """What a run logged, without what the clock says."""
  lines = [json.loads(line) for line in open(workdir / 'metrics.jsonl')]
  return [{k: v for k, v in x.items() if k not in ('images_per_s', 'seconds')}
          for x in lines]
