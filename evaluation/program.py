"""What a program costs: its products, its memory, and what moves between devices."""
import math
import re
from typing import NamedTuple

import jax
from jax.extend import core
import numpy as np

from training import sharding

BYTES = {  # of a number, by HLO's dtype
    'pred': 1, 's8': 1, 'u8': 1, 'f8e4m3fn': 1, 'f8e5m2': 1, 's16': 2, 'u16': 2,
    'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'f32': 4, 's64': 8, 'u64': 8, 'f64': 8}
MOVE = re.compile(r'= (.*?) (all-reduce|all-gather|all-to-all|collective-permute|'
                  r'reduce-scatter)(-start)?\(')
CALL = re.compile(r'(?:calls|body|condition|to_apply|true_computation|'
                  r'false_computation)=%?([\w.\-]+)')
KEPT = re.compile(rf'{MOVE.pattern}|{CALL.pattern}|branch_computations|constant\(\d+\)')


# Products.

def product_flops(jaxpr) -> float:
  """Floating-point operations of all products and convolutions of a jaxpr.

  A scan counts as often as it turns, a `cond` by its dearer branch, a `while` once.
  """
  total = 0.0
  for eqn in jaxpr.eqns:
    name, params = eqn.primitive.name, eqn.params
    if name == 'dot_general':
      (contracted, _), _ = params['dimension_numbers']
      total += 2 * eqn.outvars[0].aval.size * math.prod(
          eqn.invars[0].aval.shape[i] for i in contracted)
    elif name == 'conv_general_dilated':
      kernel, out = eqn.invars[1].aval.shape, params['dimension_numbers'].rhs_spec[0]
      total += 2 * eqn.outvars[0].aval.size * math.prod(kernel) / kernel[out]
    inner = [product_flops(sub) for sub in subjaxprs(params)]
    if name == 'cond':
      total += max(inner, default=0)
    elif name == 'scan':
      total += params['length'] * sum(inner)
    else:
      axes = next((axes for key, axes in params.items()  # over which a shard_map works
                   if key.endswith('manual_axes')), ())
      total += sum(inner) * math.prod(params['mesh'].shape[axis] for axis in axes)
  return total


def subjaxprs(params):
  """The jaxprs among the parameters of an equation."""
  for value in params.values():
    for part in value if isinstance(value, (tuple, list)) else [value]:
      if isinstance(part, core.ClosedJaxpr):
        yield part.jaxpr
      elif isinstance(part, core.Jaxpr):
        yield part


# Memory.

def bytes_of(shapes, placed) -> int:
  """Bytes of a device that trees of shapes and of their shardings take."""
  return sum(math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize
             for leaf, place in zip(jax.tree.leaves(shapes), jax.tree.leaves(placed)))


def step_memory(built, compiled) -> dict:
  """{kind: bytes of a device} of a training step: training.Training, and its program.

  Activations are what the compiler reserves while the step runs.
  """
  state, placed = built.shapes, built.shardings
  kinds = {kind: bytes_of(getattr(state, name), getattr(placed, name))
           for kind, name in (('parameters', 'params'), ('optimizer', 'opt_state'),
                              ('averages', 'ema'), ('frozen', 'frozen'))}
  batch = bytes_of(built.batch_shapes, jax.tree.map(
      lambda _: sharding.batch_sharding(built.mesh), built.batch_shapes))
  return kinds | {'batch': batch} | program_memory(compiled)


def program_memory(compiled) -> dict:
  """{'activations': bytes, 'code': bytes} of a device."""
  found = compiled.memory_analysis()
  return {'activations': found.temp_size_in_bytes,
          'code': found.generated_code_size_in_bytes}


# Collectives.

class Move(NamedTuple):
  """What goes between devices in a run of a program.

  Attributes:
    kind: 'all-gather' or another.
    axes: of the mesh, between whose devices.
    count: how often.
    bytes: that a device sends in all, as a ring does: (n - 1) / n of what is gathered
      or scattered among n devices, twice that of what is reduced.
  """
  kind: str
  axes: str
  count: int
  bytes: float


def collectives(compiled, mesh) -> list[Move]:
  """The Moves of a compiled program, the largest first."""
  total = {}
  for times, where, line in executed(compiled.as_text()):
    match = MOVE.search(line)
    if not match:
      continue
    kind, members = match[2], group(line, mesh)
    if 'all-reduce-scatter' in where:  # TPU's: a sum of which a slice is kept
      kind = 'reduce-scatter'
    n, size = len(members), result_bytes(match[1], bool(match[3]))
    whole = size * (n if match[2] == 'reduce-scatter' else 1)  # what all have, together
    sent = {'all-reduce': 2 * whole * (n - 1) / n, 'all-gather': whole * (n - 1) / n,
            'reduce-scatter': whole * (n - 1) / n}.get(kind, size)
    key = kind, axes_of(members, mesh)
    count, so_far = total.get(key, (0, 0.0))
    total[key] = count + times, so_far + times * sent
  moves = [Move(*key, *value) for key, value in total.items() if value[1]]
  return sorted(moves, key=lambda move: -move.bytes)


def result_bytes(text: str, started: bool) -> int:
  """Bytes of a result as HLO writes it; of one that is started, of its last part: the
  first is what goes in."""
  sizes = [BYTES.get(dtype, 0) * math.prod(map(int, filter(None, sides.split(','))))
           for dtype, sides in re.findall(r'(\w+)\[([\d,]*)\]', text)]
  return max(sizes, default=0) if started else sum(sizes)


def group(line: str, mesh) -> list[int]:
  """The devices, by their place in the mesh, of the first group of a collective.

  HLO writes groups as lists, as a grid of numbers that is turned, or as a mesh of its
  own axes, of which it names those, or factors of those, that a group goes along.
  """
  if found := re.search(r'replica_groups=mesh\[(.*?)\](?:, device_ids=\((.*?)\))? '
                        r'\{(.*?)\}', line):
    sides, chosen = {}, []
    along = {name: (int(before or 1), int(size or 0)) for name, before, size in
             re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", found[3])}
    for name, side in re.findall(r"'(\w+)'=(\d+)", found[1]):
      before, size = along.get(name, (int(side), 1))
      size = size or int(side)
      sides[name] = before, size, int(side) // (before * size)
      chosen.append(slice(None) if name in along else 0)
    places = numbers(found[2] or f'[{mesh.size}]')
    split = places.reshape([part for three in sides.values() for part in three])
    at = [part for some in chosen for part in (0, some, 0)]
    return split[tuple(at)].ravel().tolist()
  if found := re.search(r'replica_groups=\{\{([\d,]+)\}', line):
    return [int(i) for i in found[1].split(',')]
  if found := re.search(r'replica_groups=\[([\d,]+)\]<=(\[[\d,]+\](?:T\([\d,]+\))?)',
                        line):
    shape = [int(i) for i in found[1].split(',')]
    return numbers(found[2]).reshape(shape)[0].tolist()
  if found := re.search(r'source_target_pairs=\{\{(\d+),(\d+)\}', line):
    return [int(found[1]), int(found[2])]
  return list(range(mesh.size))


def numbers(text: str):
  """'[2,4]T(1,0)', a grid of 0, 1, ... with its axes in another order, as an array."""
  sides, order = re.fullmatch(r'\[([\d,]+)\](?:T\(([\d,]+)\))?', text).groups()
  sides = [int(i) for i in sides.split(',')]
  return np.arange(math.prod(sides)).reshape(sides).transpose(
      [int(i) for i in order.split(',')] if order else range(len(sides)))


def axes_of(members, mesh) -> str:
  """The axes along which devices of a mesh differ, as 'data+fsdp'."""
  at = np.stack(np.unravel_index(members, mesh.devices.shape))
  return '+'.join(axis for axis, row in zip(mesh.axis_names, at) if len(set(row)) > 1)


def executed(text: str):
  """(how often, computation, line) of the lines of an HLO module that call others or
  communicate."""
  bodies, entry, lines = {}, None, []
  for line in text.splitlines():
    if head := re.match(r'(ENTRY )?%?([\w.\-]+) (?:\(|\{)', line):
      lines = bodies[head[2]] = []
      entry = head[2] if head[1] else entry
    elif KEPT.search(line):
      lines.append(line)
  def walk(name, times):
    for line in bodies.get(name, ()):
      yield times, name, line
      inner = CALL.findall(line)
      if branches := re.search(r'branch_computations=\{([^}]*)\}', line):
        inner += re.findall(r'[\w.\-]+', branches[1])[:1]
      for other in inner:
        yield from walk(other, times * turns_of(line, bodies))
  return walk(entry, 1)


def turns_of(line: str, bodies) -> int:
  """How often a loop turns: as HLO says, or by what its counter is compared with; 1
  where neither is there, and for what is no loop."""
  if known := re.search(r'known_trip_count":\{"n":"(\d+)"', line):
    return int(known[1])
  condition = re.search(r' while\(.*condition=%?([\w.\-]+)', line)
  limits = [int(found[1]) for other in bodies.get(condition and condition[1], ())
            if (found := re.search(r's32\[\]\S* constant\((\d+)\)', other))]
  return limits[0] if len(limits) == 1 else 1
