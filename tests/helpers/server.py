"""Imports everything once, then forks for each command line.

It is run as `python -m helpers.server COMMAND ...`.

Reads JSON lines: {'argv': [...], 'flags': XLA_FLAGS, 'to': where output goes, 'env':
what else its environment has} starts a command and answers with its process; {'wait':
process} answers with its exit code. The names of commands are its arguments; one with a
dot, as data.prepare, is run by runpy.
"""
import gc
import importlib
import inspect
import json
import os
import runpy
import sys
import traceback

from console import command


def run(name: str):
  """Runs the command that sys.argv has."""
  if '.' in name:
    return runpy.run_module(name, run_name='__main__', alter_sys=True)
  module = sys.modules[name]
  words = len(inspect.signature(module.main).parameters) == 2
  command.run(module.main, module.define_flags, words=words)


def child(case):
  """In a child: the command, its output in files."""
  for fd, name in ((1, 'out'), (2, 'err')):
    os.dup2(os.open(f'{case["to"]}.{name}', os.O_WRONLY | os.O_CREAT), fd)
  sys.argv = case['argv']
  os.environ.update({'XLA_FLAGS': case['flags']} | case['env'])
  code = 0
  try:
    run(sys.argv[0].removesuffix('.py'))
  except SystemExit as e:
    code = e.code or 0
  except BaseException:
    traceback.print_exc()
    code = 1
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)


def serve(requests, answers):
  """Answers each request until there are no more."""
  gc.collect()
  gc.freeze()  # what is imported stays
  for line in requests:
    case = json.loads(line)
    if 'wait' in case:
      answer = os.waitstatus_to_exitcode(os.waitpid(case['wait'], 0)[1])
    else:
      answer = os.fork()
      if not answer:
        child(case)
    print(answer, file=answers, flush=True)


if __name__ == '__main__':
  for module in sys.argv[1:]:
    importlib.import_module(module)
  serve(sys.stdin, sys.stdout)
