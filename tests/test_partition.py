"""What the partitioner makes of whole programs: every device does its share, no more.

A batch of 17 pictures a device: no width, length or vocabulary of the small models has
the factor 17, so an array that moves between devices and has it is one of activations.
"""
import collections
import functools
import re

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import pytest

from configs import base
from evaluation import program
from helpers import papers
from helpers.tiny import DIT, tiny
from inference import sampler
from inference.requests import Request
import models
import training
from training import sharding

EACH = 17  # pictures a device
MESHES = {'fsdp': (2, 4, 1), 'tensor': (1, 4, 2)}
MOVES = re.compile(r'= (.*?) (?:all-reduce|all-gather|all-to-all|collective-permute|'
                   r'reduce-scatter)(?:-start)?\(')
SHORT = ('sd3', 'uvit_coco')  # the others are a long test
CASES = [pytest.param(paper, name, marks=[] if paper in SHORT else pytest.mark.long)
         for paper, name in dict(papers.PAPERS[::-1]).items()]


def moved(compiled) -> list[tuple[str, tuple]]:
  """(dtype, shape) of all that the devices send to each other."""
  found = []
  for line in compiled.as_text().splitlines():
    if match := MOVES.search(line):
      found += [(dtype, tuple(map(int, filter(None, sides.split(',')))))
                for dtype, sides in re.findall(r'(\w+)\[([\d,]*)\]', match[1])]
  return found


def of_activations(compiled) -> list:
  return [(dtype, shape) for dtype, shape in moved(compiled)
          if any(side % EACH == 0 for side in shape)]


def share(compiled, whole) -> float:
  """Work of a device as a share of an eighth of the work of the whole program."""
  return compiled.cost_analysis()['flops'] * 8 / whole.cost_analysis()['flops']


def lower_step(c, mesh):
  built = training.build(c, mesh)
  key = jax.eval_shape(lambda: jax.random.key(0))
  return built.step.lower(built.shapes, built.batch_shapes, key)


def lower_sampler(c, mesh):
  module, size, length = models.build(c), base.height_width(c.data.size), (
      c.tokenizer.length)
  params, split = models.param_shapes(module, size, length), (
      sharding.batch_sharding(mesh))
  placed = jax.tree.map(with_sharding, params, sharding.param_shardings(mesh, params))
  row = functools.partial(jax.ShapeDtypeStruct, sharding=split)
  b = c.train.batch
  request = Request(row((b, 2, length), jnp.int32), row((b, 1), jnp.float32),
                    row((b, 6), jnp.float32))
  keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), b))
  return sampler.build_sampler(module, c, size, mesh=mesh).lower(
      {'main': placed}, request, with_sharding(keys, split),
      jax.ShapeDtypeStruct((), jnp.float32))


def with_sharding(shape, placed):
  return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=placed)


@pytest.mark.parametrize('lower', [lower_step, lower_sampler])
@pytest.mark.parametrize('paper, name', CASES)
def test_no_device_works_on_more_than_its_share(paper, name, lower):
  c = papers.config(paper, name, 'reduced')
  c.train.batch = 8 * EACH
  split = lower(c, sharding.make_mesh(*MESHES['fsdp'])).compile()
  assert not of_activations(split)
  whole = lower(c, sharding.make_mesh(1, 1, 1, jax.devices()[:1]))
  assert share(split, whole) < 1.1


def sent(c, mesh, accumulate: int, gather_once: bool = True) -> dict:
  """{axes: bytes} that a device sends in a step."""
  c = c.copy_and_resolve_references()
  c.train.update(dict(accumulate=accumulate, gather_once=gather_once))
  total = collections.Counter()
  for move in program.collectives(lower_step(c, mesh).compile(), mesh):
    total[move.axes] += move.bytes
  return total


def accumulating(paper):
  if paper:
    c = papers.config(paper, 'medium', 'reduced')
  else:
    c = tiny('')
    c.model = ConfigDict(DIT)
  c.train.batch = 64
  return c


@pytest.mark.parametrize('paper', [None, pytest.param('sd3', marks=pytest.mark.long)])
@pytest.mark.parametrize('shape', [
    pytest.param((8, 1, 1), marks=pytest.mark.long), (2, 4, 1), (2, 2, 2)])
def test_accumulated_gradients_are_reduced_once(shape, paper):
  """Four parts send no more than one: 2% are for what is logged."""
  c, mesh = accumulating(paper), sharding.make_mesh(*shape)
  one, four = (sum(sent(c, mesh, parts).values()) for parts in (1, 4))
  assert 0 < four < 1.02 * one


@pytest.mark.long
def test_in_every_part_fsdp_sends_anew_and_data_does_not():
  """What config.train.gather_once=False costs, for whom a device cannot hold all."""
  c, mesh = accumulating('sd3'), sharding.make_mesh(2, 4, 1)
  one, four = sent(c, mesh, 1), sent(c, mesh, 4, gather_once=False)
  assert four['data'] < 1.1 * (one['data'] + one['data+fsdp'])
  assert 1.5 * one['fsdp'] < four['fsdp'] < 4.1 * one['fsdp']


@pytest.mark.parametrize('lower', [lower_step, lower_sampler])
def test_what_tensor_cannot_split_is_split_by_pictures(lower):
  c = papers.config('sd3', 'medium', 'reduced')
  c.train.batch = 8 * EACH
  split = lower(c, sharding.make_mesh(*MESHES['tensor'])).compile()
  whole = lower(c, sharding.make_mesh(1, 1, 1, jax.devices()[:1]))
  assert share(split, whole) < 1.1
