"""What lies in bfloat16 between steps is that of float32 in expectation."""
import os

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from configs import base
from helpers.tiny import DIT
import training
from training import ema, optim, rounding, sharding, train_state, train_step

N = 20_000  # draws


@pytest.fixture
def key():
  seed = int.from_bytes(os.urandom(4))
  print('seed', seed)
  return jax.random.key(seed)


def near(draws, expected, width):
  """Whether the mean of independent draws of a bounded width is as expected: by more
  than six standard errors it is off in one of 5e8 tests."""
  error = 6 * width / 2 / np.sqrt(draws.size)
  assert abs(float(np.asarray(draws, np.float64).mean()) - expected) < error + 1e-6 * (
      abs(expected))


def test_a_number_becomes_one_of_its_neighbours_and_is_itself_on_average(key):
  at, draw = jax.random.split(key)
  for x in np.asarray(jax.random.normal(at, 8) * 10.0 ** jnp.arange(-20, 20, 5)):
    got = np.asarray(rounding.stochastic_round(jnp.full(N, x), draw), np.float64)
    nearest = float(jnp.bfloat16(x))
    step = 2.0 ** (np.floor(np.log2(abs(x))) - 7)  # of 8 bits, between neighbours
    assert len(set(got)) <= 2 and abs(got - x).max() < step
    assert nearest in got or abs(nearest - x) > 0.499 * step
    near(got, float(x), step)


def test_what_bfloat16_has_stays_and_so_does_what_is_not_finite(key):
  x = jax.random.normal(key, 1000).astype(jnp.bfloat16)
  odd = jnp.array([0.0, -0.0, jnp.inf, -jnp.inf, jnp.nan, 2.0**-130])
  least = jax.lax.bitcast_convert_type(jnp.uint32(0x7f800001), jnp.float32)
  odd = jnp.append(odd, least)  # of the numbers that are none
  for same in (x.astype(jnp.float32), odd):
    got = rounding.stochastic_round(same, key)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_array_equal(got.astype(jnp.float32),
                                  same.astype(jnp.bfloat16).astype(jnp.float32))


def test_an_average_that_forgets_slowly_follows_though_its_bits_are_few(key):
  """From 1 to 2, by a thousandth a step; the nearest bfloat16 would stand still."""
  profile, steps = ema.exponential(0.999), 300
  expected, state = 1.0, train_state.TrainState(
      jnp.int32(100_000), None, ({'w': jnp.ones(N, jnp.bfloat16)},), None, None, None)
  new = {'w': jnp.full(N, 2.0)}
  move = jax.jit(lambda state: state.replace(
      step=state.step + 1, ema=train_step.averaged([profile], state, new, key)))
  for _ in range(steps):
    state, expected = move(state), expected + (2.0 - expected) * 1e-3
  assert state.ema[0]['w'].dtype == jnp.bfloat16
  assert jnp.bfloat16(1.0 + 1e-3) == 1.0 and expected > 1.25
  near(state.ema[0]['w'], expected, 0.2)  # all lie within that: 300 steps of 2^-7


@pytest.mark.parametrize('name', sorted(optim.OPTIMIZERS))
def test_first_moments_are_those_of_float32_in_expectation(key, name):
  """Of equal gradients; what else the optimizer keeps is float32."""
  c = ConfigDict(base.get_config().optim.to_dict())
  c.update(dict(name=name, warmup=0, weight_decay=(('.*', 0.0),)))
  params = {'mlp': {'kernel': jnp.ones((100, 100)), 'bias': jnp.ones(10_000)}}
  plain, _ = optim.build(c, 100)
  c.moment_dtype = 'bfloat16'
  ours, _ = optim.build(c, 100)
  a, b = plain.init(params), ours.init(params)
  grads = jax.tree.map(jnp.ones_like, params)
  update = [jax.jit(one.update) for one in (plain, ours)]
  for scale in np.asarray(jax.random.uniform(key, 10, minval=0.5, maxval=2.0)):
    scaled = jax.tree.map(lambda g, s=scale: g * s, grads)
    _, a = update[0](scaled, a, params)
    _, b = update[1](scaled, b, params)
  moments = [[(x, path) for path, x in jax.tree.leaves_with_path(state)
              if rounding.is_moment(path)] for state in (a, b)]
  assert len(moments[0]) == len(moments[1]) == 2
  for (expected, _), (got, _) in zip(*moments):
    assert got.dtype == jnp.bfloat16
    expected = float(expected.ravel()[0])
    near(got, expected, 0.2 * abs(expected))
  assert not [path for path, x in jax.tree.leaves_with_path(b)
              if x.dtype == jnp.bfloat16 and not rounding.is_moment(path)]


def test_an_optimizer_without_first_moments_is_told_of_none():
  c = ConfigDict(base.get_config().optim.to_dict())
  c.update(dict(name='adafactor', b1=0.0, moment_dtype='bfloat16'))
  with pytest.raises(ValueError, match='moment_dtype .* no first moment'):
    optim.build(c, 10)[0].init({'w': jnp.ones(3)})


def test_a_run_keeps_its_state_as_it_says_and_on_a_mesh(config, tokenizer):
  c = config.copy_and_resolve_references()
  c.model = ConfigDict(DIT)
  c.optim.update(dict(ema_dtype='bfloat16', moment_dtype='bfloat16'))
  made = training.build(c, sharding.make_mesh(2, 2, 2), vocab=300)
  state = made.create()
  batch = {name: np.ones(s.shape, s.dtype) for name, s in made.batch_shapes.items()}
  dtypes = jax.tree.map(lambda x: x.dtype, state)
  for _ in range(2):
    state, metrics = made.step(state, sharding.shard_local(batch, made.mesh),
                               jax.random.key(0))
  assert jax.tree.map(lambda x: x.dtype, state) == dtypes
  assert {x.dtype for x in jax.tree.leaves(state.ema)} == {jnp.dtype('bfloat16')}
  assert {x.dtype for x in jax.tree.leaves(state.params)} == {jnp.dtype('float32')}
  assert np.isfinite(metrics['loss']) and optax.global_norm(state.ema[0]) > 0
  moments = [x for path, x in jax.tree.leaves_with_path(state.opt_state)
             if rounding.is_moment(path)]
  assert len(moments) == len(jax.tree.leaves(state.params))
  kernel = state.ema[0]['text_encoder']['attention_0']['q']['kernel']
  assert kernel.addressable_shards[0].data.size == kernel.size // 4
