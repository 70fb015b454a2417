"""What accelerators can do, by name, as their makers state it."""
import importlib.util
import math
import os
import re
from typing import NamedTuple

import jax


class Chip(NamedTuple):
  """Attributes:
    memory: GiB of a chip.
    flops: products in bfloat16 a second, dense.
    network: bytes a second that leave a chip for the others of its slice or node, one
      way over all links.
    platform: that compiles for it, 'tpu' or 'gpu'.
    kind: regex over what jax calls the device.
  """
  memory: float
  flops: float
  network: float
  platform: str
  kind: str


CHIPS = {  # cloud.google.com/tpu/docs/v5e, v5p, v6e; NVIDIA's data sheets
    'v5e': Chip(16, 197e12, 200e9, 'tpu', 'TPU v5( lite|e)'),
    'v5p': Chip(95, 459e12, 600e9, 'tpu', 'TPU v5p?'),
    'v6e': Chip(32, 918e12, 448e9, 'tpu', 'TPU v6( lite|e)'),
    'a100': Chip(80, 312e12, 300e9, 'gpu', 'NVIDIA A100.*'),
    'h100': Chip(80, 989e12, 450e9, 'gpu', 'NVIDIA H100 80GB HBM3'),
    'h200': Chip(141, 989e12, 450e9, 'gpu', 'NVIDIA H200'),
}


def peak_flops(kind: str) -> float | None:
  """Products in bfloat16 a second of a device of jax's `device_kind`; None if unknown.
  """
  return next((chip.flops for chip in CHIPS.values() if re.fullmatch(chip.kind, kind)),
              None)


def parse(topology: str):
  """'v5p:4x4x4' or 'h100:8' -> (Chip, number of chips). Raises ValueError for others.
  """
  name, _, sides = topology.partition(':')
  parts = sides.split('x')
  if name not in CHIPS or not all(part.isdigit() and int(part) for part in parts):
    raise ValueError(f'{topology!r} is no topology: CHIP:SIDES, such as v5p:4x4x4 or '
                     f'h100:8, with a chip of {sorted(CHIPS)}.')
  return CHIPS[name], math.prod(map(int, parts))


def devices(topology: str) -> tuple[list, str]:
  """(devices to compile for, the compiler's name): the chips need not be there.

  With libtpu installed a TPU's are its own; all others are simulated on the CPU, whose
  compiler splits programs alike and says of memory only roughly what theirs would. It
  is to be called before anything else asks jax for devices.

  Raises ValueError for a topology that there is not.
  """
  chip, count = parse(topology)
  jax.config.update('jax_platforms', 'cpu')
  if chip.platform != 'tpu' or not importlib.util.find_spec('libtpu'):
    jax.config.update('jax_num_cpu_devices', count)
    return jax.devices(), 'the CPU compiler'
  os.environ |= {'TPU_SKIP_MDS_QUERY': '1', 'TPU_WORKER_HOSTNAMES': 'localhost',
                 'TPU_ACCELERATOR_TYPE': f'{topology.partition(":")[0]}-{count}'}
  from jax.experimental import topologies
  try:
    found = topologies.get_topology_desc(platform='tpu', topology_name=topology)
  except Exception as e:  # whatever libtpu says of a slice that is not made
    raise ValueError(f'libtpu knows no slice {topology!r}: '
                     f'{" ".join(str(e).split())[:160]}') from e
  return found.devices, 'libtpu'
