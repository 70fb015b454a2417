"""Meshes, shares and rules over parameter names."""
import jax
import jax.numpy as jnp
import pytest

from training import rules, sharding


def test_one_size_takes_what_is_left():
  assert sharding.make_mesh().shape == {'data': 8, 'fsdp': 1, 'tensor': 1}
  assert sharding.make_mesh(2, -1, 2).shape == {'data': 2, 'fsdp': 2, 'tensor': 2}
  assert sharding.make_mesh(2, 1, 1).devices.size == 2


@pytest.mark.parametrize('shape', [(16, 1, 1), (3, 1, 1), (-1, 3, 1), (0, 1, 1),
                                   (-1, -1, 1), (-2, 1, 1)])
def test_sizes_that_do_not_fit_are_refused(shape):
  with pytest.raises(ValueError, match='config.mesh.data'):
    sharding.make_mesh(*shape)


def test_a_batch_that_the_devices_do_not_divide_is_refused():
  mesh = sharding.make_mesh(2, 2, 2)
  sharding.check_batch(mesh, 16, 4)
  for batch, accumulate in ((6, 1), (8, 4)):
    with pytest.raises(ValueError, match=f'config.train.batch is {batch}; .* multiple'):
      sharding.check_batch(mesh, batch, accumulate)


def test_a_batch_lies_over_data_and_fsdp():
  mesh = sharding.make_mesh(2, 2, 2)
  x = sharding.shard_local({'x': jnp.arange(8)}, mesh)['x']
  assert {s.data.size for s in x.addressable_shards} == {2}
  assert x.tolist() == list(range(8))


def test_kernels_are_split_and_biases_are_whole():
  mesh = sharding.make_mesh(1, 4, 2)
  params = {'a': {'q': {'kernel': jnp.zeros((8, 2, 4))}, 'bias': jnp.zeros(8)},
            'mlp': {'up': {'kernel': jnp.zeros((3, 8))}}}
  spec = jax.tree.map(lambda s: tuple(s.spec), sharding.param_shardings(mesh, params))
  assert spec['a']['q']['kernel'] == ('fsdp', 'tensor', None)
  assert spec['mlp']['up']['kernel'] == (None, 'tensor')
  assert spec['a']['bias'] == (None,)


def test_the_first_rule_that_matches_the_whole_name_wins():
  tree = {'a': {'kernel': 0, 'bias': 0}, 'kernel': 0}
  got = rules.match((('a/.*', 1), ('.*kernel', 2), ('.*', 3)), tree, 'key')
  assert got == {'a': {'kernel': 1, 'bias': 1}, 'kernel': 2}
  with pytest.raises(ValueError, match="key has no rule for the parameter 'a/bias'"):
    rules.match((('kern', 1), ('.*kernel', 2)), tree, 'key')
