"""Runs the scripts as a user would, without paying for their imports each time.

One process imports everything, then forks for each command line.
"""
import json
import os
import pathlib
import subprocess
import sys

from conftest import FAST

ROOT = pathlib.Path(__file__).parent.parent
FORK = r"""
import json, os, sys
for line in sys.stdin:
  case = json.loads(line)
  pid = os.fork()
  if not pid:
    for fd, name in ((1, 'out'), (2, 'err')):
      os.dup2(os.open(case['to'] + '.' + name, os.O_WRONLY | os.O_CREAT), fd)
    sys.argv = case['argv']
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
  print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
SERVER = r"""
import sys
import evaluate, export, sample, sweep, train, cli
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


def environment(devices=1):
  return os.environ | {
      'XLA_FLAGS': f'{FAST} --xla_force_host_platform_device_count={devices}',
      'JAX_PLATFORMS': 'cpu'}


def command(argv):
  return [sys.executable, argv[0], *argv[1:]]


class Scripts:
  """run(script, *flags) -> (exit code, stdout, stderr)."""

  def __init__(self, folder, devices=1, server=SERVER):
    self.folder, self.count = folder, 0
    self.server = subprocess.Popen(
        [sys.executable, '-c', server], cwd=ROOT, text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(devices))

  def run(self, *argv):
    self.count += 1
    to = str(self.folder / f'run{self.count}')
    self.server.stdin.write(json.dumps({'argv': list(map(str, argv)), 'to': to}) + '\n')
    self.server.stdin.flush()
    code = int(self.server.stdout.readline())
    return code, *(pathlib.Path(f'{to}.{name}').read_text() for name in ('out', 'err'))

  def close(self):
    self.server.stdin.close()
    self.server.wait()
