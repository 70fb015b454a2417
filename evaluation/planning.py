"""What a config will take on given chips, from its compiled program, before it runs."""
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from configs import base
from evaluation import program
from inference import sampler
from inference.requests import Request
import models
import training
from training import sharding

GIB = 2**30
UTILISATION = 0.4  # share of a chip's products that well-kept training code reaches


class Plan(NamedTuple):
  """Attributes:
    memory: {kind: bytes of a chip}.
    flops: of all products of a step, over all chips.
    recomputed: share of them that is done again to save memory.
    moves: program.Moves of a chip and step.
  """
  memory: dict
  flops: float
  recomputed: float
  moves: list

  @property
  def total(self) -> int:
    """Bytes of a chip."""
    return sum(self.memory.values())


def plan_step(c, mesh) -> Plan:
  """The training step of a config over a mesh, of devices that need not be there."""
  built = training.build(c, mesh)
  key = jax.eval_shape(lambda: jax.random.key(0))
  compiled = built.step.lower(built.shapes, built.batch_shapes, key).compile()
  flops = step_flops(c)
  return Plan(program.step_memory(built, compiled), flops,
              1 - step_flops(keeping_all(c)) / flops,
              program.collectives(compiled, mesh))


def keeping_all(c):
  """A config that recomputes nothing."""
  keeping = c.copy_and_resolve_references()
  if 'remat' in keeping.model:
    keeping.model.remat = 'none'
  return keeping


def model_flops(c, built, *args) -> float:
  """Of the products of a training step that its model asks for, over all devices:
  without what is done again to save memory, as MFU counts them.

  args: of built.step, which has been traced for them: where every product stands in
  that program it is not traced again.
  """
  if built.mesh.devices.flat[0].platform == 'cpu' and (
      c.model.get('remat', 'none') == 'none'):
    return program.product_flops(built.step.trace(*args).jaxpr.jaxpr)
  return step_flops(keeping_all(c))  # without kernels, whose products are not seen


def step_flops(c) -> float:
  """Of all products of a training step, over all devices."""
  built = training.build(c, sharding.make_mesh(1, 1, 1, jax.devices('cpu')[:1]))
  key = jax.eval_shape(lambda: jax.random.key(0))
  return program.product_flops(
      built.step.trace(built.shapes, built.batch_shapes, key).jaxpr.jaxpr)


def plan_sampler(c, mesh) -> Plan:
  """The sampler of a config, config.sample.batch pictures at once, over a mesh.

  Raises ValueError where the devices do not divide the pictures.
  """
  n, b = sharding.batch_shards(mesh), c.sample.batch
  if b % n:
    raise ValueError(f'config.sample.batch is {b}, which {n} data and fsdp devices do '
                     'not divide.')
  module, size = models.build(c), base.height_width(c.data.size)
  params = models.param_shapes(module, size, c.tokenizer.length)
  placed = sharding.param_shardings(mesh, params)
  split, whole = sharding.batch_sharding(mesh), sharding.replicated(mesh)
  row = functools.partial(jax.ShapeDtypeStruct, sharding=split)
  request = Request(row((b, 2, c.tokenizer.length), jnp.int32),
                    row((b, 1), jnp.float32), row((b, 6), jnp.float32))
  keys = with_sharding(jax.eval_shape(
      lambda: jax.random.split(jax.random.key(0), b)), split)
  build = functools.partial(sampler.build_sampler, module, c, size)
  args = ({'main': jax.tree.map(with_sharding, params, placed)}, request, keys,
          jax.ShapeDtypeStruct((), jnp.float32, sharding=whole))
  compiled = build(mesh=mesh).lower(*args).compile()
  memory = {'parameters': program.bytes_of(params, placed)}
  bare = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype), args)
  flops = program.product_flops(build().trace(*bare).jaxpr.jaxpr)
  return Plan(memory | program.program_memory(compiled), flops, 0.0,
              program.collectives(compiled, mesh))


def with_sharding(shape, placed):
  """A shape that lies where `placed` says."""
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=placed)


def seconds(plan: Plan, chip, chips: int, utilisation: float = UTILISATION) -> dict:
  """{'products': s, 'network': s} of a step, the time of each if it had all of it.

  Products run at `utilisation` of the chip's rate; collectives at the rate of all its
  links. What overlaps is not known before it runs: a step takes between the longer of
  the two and their sum.
  """
  return {'products': plan.flops / chips / chip.flops / utilisation,
          'network': sum(move.bytes for move in plan.moves) / chip.network}


def remedy(plan: Plan, chip, c) -> str | None:
  """What to change where a plan does not fit a chip; None where it does."""
  if plan.total <= chip.memory * GIB:
    return None
  state = sum(plan.memory.get(kind, 0)
              for kind in ('parameters', 'optimizer', 'averages', 'frozen'))
  if state > plan.total / 2:
    return ('most of it is state: spread it over more devices, --config.mesh.fsdp, or '
            'keep fewer averages, --config.optim.ema.')
  if c.train.accumulate > 1 and c.mesh.fsdp != 1 and c.train.gather_once:
    return ('each device holds all weights and gradients of the parts: '
            '--config.train.gather_once=False, which sends them in every part.')
  if c.model.get('remat', 'none') != 'full':
    return 'most of it is activations: --config.model.remat=full.'
  return ('most of it is activations, recomputed already: --config.train.accumulate='
          f'{2 * c.train.accumulate}, or more devices.')


def candidates(c, chips: int):
  """(words, config): other meshes, recomputation and accumulation, for --search."""
  meshes = [(chips // (f * t), f, t) for f, t in itertools.product(
      sorted({1, min(8, chips), chips}), sorted({1, min(4, chips)}))
      if not chips % (f * t)]
  for (data, fsdp, tensor), remat, parts in itertools.product(
      meshes, ('none', 'dots', 'full'), (1, 4)):
    other = c.copy_and_resolve_references()
    other.mesh.update(dict(data=data, fsdp=fsdp, tensor=tensor))
    other.model.remat, other.train.accumulate = remat, parts
    yield (f'data={data} fsdp={fsdp} tensor={tensor} remat={remat} '
           f'accumulate={parts}'), other
