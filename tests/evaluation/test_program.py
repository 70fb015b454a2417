"""What programs cost, against what is known of them."""
import functools

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
import numpy as np
import pytest

from evaluation import chips, planning, program
from helpers.tiny import DIT, tiny
from training import sharding

row = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)


def flops(run, *shapes):
  return program.product_flops(jax.make_jaxpr(run)(*map(row, shapes)).jaxpr)


def test_products_are_counted_by_their_sides():
  """2 m n k of a product, 2 h w k k c d of a convolution, times turns of a scan."""
  rng = np.random.default_rng(seed := np.random.SeedSequence().entropy % 2**32)
  print('seed', seed)
  b, m, n, k, turns = map(int, rng.integers(2, 9, 5))
  assert flops(jnp.matmul, (b, m, k), (b, k, n)) == 2 * b * m * n * k
  conv = functools.partial(jax.lax.conv_general_dilated, window_strides=(1, 1),
                           padding='SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
  assert flops(conv, (b, m, n, k), (3, 3, k, 5)) == 2 * b * m * n * 9 * k * 5
  grouped = functools.partial(conv, feature_group_count=k)
  assert flops(grouped, (b, m, n, k), (3, 3, 1, k)) == 2 * b * m * n * 9 * k
  def scanned(x, w):
    return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=turns)[0]
  assert flops(scanned, (m, k), (k, k)) == turns * 2 * m * k * k
  either = lambda x, w: jax.lax.cond(
      x.sum() > 0, lambda: x @ w @ w, lambda: x @ w)
  assert flops(either, (m, k), (k, k)) == 2 * 2 * m * k * k


def test_a_gradient_is_twice_its_value_and_recomputation_once_more():
  layers = lambda x, w: jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w) @ w)
  forward = flops(layers, (4, 8), (8, 8))
  both = functools.partial(jax.grad, argnums=(0, 1))
  assert flops(both(layers), (4, 8), (8, 8)) == 3 * forward
  again = flops(both(jax.checkpoint(layers)), (4, 8), (8, 8))
  assert 3 * forward < again <= 4 * forward


def test_what_moves_is_counted_by_axis_and_by_turns_of_a_loop():
  """Weights spread over fsdp are fetched in each turn; a sum goes over data once."""
  mesh, turns, side = sharding.make_mesh(2, 4, 1), 5, 64
  def run(x, w):
    def turn(x, w):
      x, w = (jax.lax.with_sharding_constraint(y, NamedSharding(mesh, spec)) for y, spec
              in ((x, PartitionSpec(('data', 'fsdp'))), (w, PartitionSpec())))
      return jnp.tanh(x @ w), None
    return jnp.sum(jax.lax.scan(turn, x, w)[0])
  placed = [jax.ShapeDtypeStruct(shape, jnp.float32,
                                 sharding=NamedSharding(mesh, PartitionSpec(*spec)))
            for shape, spec in (((16, side), [('data', 'fsdp')]),
                                ((turns, side, side), [None, 'fsdp']))]
  found = program.collectives(jax.jit(run).lower(*placed).compile(), mesh)
  assert [(move.kind, move.axes, move.count) for move in found] == [
      ('all-gather', 'fsdp', turns), ('all-reduce', 'data+fsdp', 1)]
  assert found[0].bytes == turns * side * side * 4 * 3 / 4
  assert found[1].bytes == 2 * 4 * 7 / 8


@pytest.mark.parametrize('line, members', [
    ('replica_groups={{0,2},{1,3}}', [0, 2]),
    ('replica_groups=[2,4]<=[8]', [0, 1, 2, 3]),
    ('replica_groups=[4,2]<=[2,4]T(1,0)', [0, 4]),
    ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", [0, 1, 2, 3]),
    ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", [0, 4]),
    ("replica_groups=mesh['a'=8] {'a':(2)2}", [0, 2]),
    ("replica_groups=mesh['a'=8] {'a'}", list(range(8))),
    ('source_target_pairs={{0,1},{1,0}}', [0, 1])])
def test_groups_of_devices_are_read_as_hlo_writes_them(line, members):
  mesh = sharding.make_mesh(2, 2, 2)
  assert program.group(line, mesh) == members
  assert program.axes_of([0, 4], mesh) == 'data'
  assert program.axes_of([0, 1, 2, 3], mesh) == 'fsdp+tensor'


def test_a_plan_knows_its_state_and_names_a_remedy(tmp_path):
  """AdamW keeps two moments; eight devices hold an eighth of nearly all of it."""
  c = tiny(str(tmp_path))
  c.model = dict(DIT, name='dit', dtype='float32', depth=2, width=32)
  plan = planning.plan_step(c, sharding.make_mesh(1, 8, 1))
  whole = planning.plan_step(c, sharding.make_mesh(1, 1, 1, jax.devices()[:1]))
  p = whole.memory['parameters']
  assert whole.memory['averages'] == p
  assert 2 * p <= whole.memory['optimizer'] <= 2 * p + 64
  assert p / 8 < plan.memory['parameters'] < p / 5
  assert plan.flops == whole.flops and not whole.moves and plan.moves
  assert planning.remedy(plan, chips.CHIPS['v5e'], c) is None
  small = chips.CHIPS['v5e']._replace(memory=plan.total / planning.GIB / 2)
  assert '--config' in planning.remedy(plan, small, c)
  c.model.remat = 'full'
  assert plan.flops < planning.step_flops(c) < 4 / 3 * plan.flops


def test_a_sampler_is_planned_with_its_parameters_spread(tmp_path):
  c = tiny(str(tmp_path))
  plan = planning.plan_sampler(c, sharding.make_mesh(1, 8, 1))
  whole = planning.plan_sampler(c, sharding.make_mesh(1, 1, 1, jax.devices()[:1]))
  assert plan.memory['parameters'] < whole.memory['parameters'] / 3
  assert plan.flops == whole.flops > 0
  with pytest.raises(ValueError, match='config.sample.batch is 6, which 8'):
    c.sample.batch = 6
    planning.plan_sampler(c, sharding.make_mesh(1, 8, 1))


def test_topologies_are_read_or_refused():
  assert chips.parse('v5p:4x4x4') == (chips.CHIPS['v5p'], 64)
  assert chips.parse('h100:8')[1] == 8
  for odd in ('v5p', 'v5p:', 'x:8', 'v5p:4x', 'v5p:0', 'v5p:-4'):
    with pytest.raises(ValueError, match='no topology'):
      chips.parse(odd)


def test_loops_and_scattered_sums_are_read_as_tpus_compiler_writes_them():
  """It says nothing of turns; a reduce-scatter is a sum of which a slice is kept."""
  class Compiled:
    as_text = staticmethod(lambda: """
%all-reduce-scatter.1 (input: bf16[8,4]) -> bf16[2,4] {
  %all-reduce.4 = bf16[8,4]{1,0} all-reduce(%input), replica_groups={{0,1,2,3}}
}
%condition (p: (s32[])) -> pred[] {
  %constant.55 = s32[]{:T(128)} constant(6)
}
%body (p: (s32[])) -> (s32[]) {
  %fusion = bf16[2,4]{1,0} fusion(%x), kind=kCustom, calls=%all-reduce-scatter.1
}
ENTRY %main () -> f32[] {
  %while = (s32[]) while(%t), condition=%condition, body=%body
}""")
  mesh = sharding.make_mesh(1, 4, 1, jax.devices()[:4])
  assert program.collectives(Compiled, mesh) == [
      program.Move('reduce-scatter', 'fsdp', 6, 6 * 8 * 4 * 2 * 3 / 4)]
