"""What a run was done with: machine.json in its workdir, an entry a start."""
from importlib import metadata
import os
import platform
import sys
import time

import jax

from console import files

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy',
            'tokenizers')
GIB = 2**30

path_of = lambda workdir: os.path.join(workdir, 'machine.json')


def describe(step: int) -> dict:
  """JSON: this machine, its devices and the versions, for a run that goes on at `step`.

  Of a machine among several it is that one; `processes` says how many there are.
  """
  devices = jax.devices()
  return {
      'step': step, 'time': time.strftime('%Y-%m-%d %H:%M:%S %z'),
      'devices': f'{len(devices)} x {devices[0].device_kind}',
      'platform': devices[0].platform, 'processes': jax.process_count(),
      'processor': processor(), 'cores': os.cpu_count(),
      'memory_gib': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
                          / GIB, 1),
      'system': platform.platform(), 'python': platform.python_version(),
      'command': ' '.join(sys.argv),
      'packages': {name: metadata.version(name) for name in PACKAGES}}


def processor() -> str:
  """The name of the processor, as Linux has it; else its architecture."""
  try:
    with open('/proc/cpuinfo', encoding='utf-8') as f:
      names = [line.partition(':')[2].strip() for line in f
               if line.startswith('model name')]
  except OSError:
    names = []
  return names[0] if names else platform.machine()


def record(workdir: str, step: int):
  """Adds this start to machine.json; those that it takes back, after `step`, go."""
  path = path_of(workdir)
  before = files.read_json(path) if os.path.exists(path) else []
  files.write_json(path, [start for start in before if start['step'] < step or (
      start['step'] == step == 0)][-100:] + [describe(step)])
