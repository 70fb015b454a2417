"""The commands of an installed package: t2i-train is train.py, from any folder."""
import os
import runpy
import sys

from console.command import ROOT

COMMANDS = {  # name: module
    't2i-train': 'train', 't2i-sample': 'sample', 't2i-evaluate': 'evaluate',
    't2i-sweep': 'sweep', 't2i-export': 'export', 't2i-plan': 'plan',
    't2i-benchmark': 'benchmark', 't2i-report': 'report', 't2i-play': 'play',
    't2i-inspect': 'data.inspect',
    't2i-prepare': 'data.prepare', 't2i-convert': 'interop.convert',
}


def run():
  """Runs the command that sys.argv[0] names."""
  module = COMMANDS[os.path.basename(sys.argv[0]).removesuffix('.exe')]
  sys.argv[1:] = map(shipped, sys.argv[1:])
  runpy.run_module(module, run_name='__main__', alter_sys=True)


def shipped(word: str) -> str:
  """A flag's configs/... or weights/..., where there is none here, of the package."""
  flag, equals, path = word.partition('=')
  file = path.partition(':')[0]  # of a config, what follows chooses a variant
  ours = path.startswith(('configs/', 'weights/')) and not os.path.exists(file)
  if equals and ours and os.path.exists(os.path.join(ROOT, file)):
    return f'{flag}={os.path.join(ROOT, path)}'
  return word
