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
SERVER = r"""
import json, os, sys
import evaluate, export, sample, train, cli
for line in sys.stdin:
  case = json.loads(line)
  pid = os.fork()
  if not pid:
    for fd, name in ((1, 'out'), (2, 'err')):
      os.dup2(os.open(case['to'] + '.' + name, os.O_WRONLY | os.O_CREAT), fd)
    sys.argv = case['argv']
    module = sys.modules[case['argv'][0].removesuffix('.py')]
    code = 0
    try:
      cli.run(module.main, module.define_flags)
    except SystemExit as e:
      code = e.code or 0
    except BaseException:
      import traceback; traceback.print_exc()
      code = 1
    sys.stdout.flush(); sys.stderr.flush()
    os._exit(code)
  print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def environment(devices=1):
  return os.environ | {
      'XLA_FLAGS': f'{FAST} --xla_force_host_platform_device_count={devices}',
      'JAX_PLATFORMS': 'cpu'}


def command(argv):
  return [sys.executable, argv[0], *argv[1:]]


class Scripts:
  """run(script, *flags) -> (exit code, stdout, stderr)."""

  def __init__(self, folder, devices=1):
    self.folder, self.count = folder, 0
    self.server = subprocess.Popen(
        [sys.executable, '-c', SERVER], cwd=ROOT, text=True, stdin=subprocess.PIPE,
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
