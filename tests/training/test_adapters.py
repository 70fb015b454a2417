"""LoRA of a run: only adapters have gradients and moments; all else stays, once."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import seeded
from helpers.tiny import DIT
import models
from models import lora
import training
from training import checkpoint, rules, sharding, train_state
from training.build import build_objective, drawn_params, frozen_params, init_params

KEY = jax.random.key(0)
LAYERS = ('backbone/blocks/(self|mlp)/.*', 'text_encoder/.*/(q|v)')
FREEZE = (('lora/.*', 1.0), ('.*', 0.0))


def config_of(config, **keys):
  c = config.copy_and_resolve_references()
  c.model = dict(DIT)
  c.lora.update(dict(layers=LAYERS, rank=2, alpha=4.0) | keys)
  c.optim.update(dict(lr_scale=FREEZE, warmup=0, ema=('exponential(decay=0.9)',)))
  return c


def build(c, vocab=300):
  null = np.array([1] + [0] * (c.tokenizer.length - 1), np.int32)
  return training.build(c, sharding.make_mesh(1), null_tokens=null, vocab=vocab)


def batch_of(i):
  rng = np.random.default_rng(i)
  return {'image': rng.integers(0, 256, (8, 16, 16, 3), np.uint8),
          'tokens': rng.integers(2, 290, (8, 16)).astype(np.int32),
          'sizes': np.tile(np.float32([16, 16, 0, 0, 16, 16]), (8, 1))}


def run(made, state, steps):
  losses = []
  for i in range(int(state.step), int(state.step) + steps):
    state, metrics = made.step(
        state, sharding.shard_local(batch_of(i), made.mesh), KEY)
    losses.append(metrics['loss'])
  return state, losses


def no_zeros(tree):
  """Parameters none of which is zero, as those of a trained model."""
  return jax.tree.map(lambda name, leaf: seeded.numbers(name, leaf.size).reshape(
      leaf.shape), rules.names(tree), tree)


def start(made):
  """A first state whose base is not zero anywhere."""
  state = made.create()
  for part in ('backbone', 'text_encoder'):
    state = train_state.with_part(state, part, no_zeros(state.frozen[part]))
  return state


@pytest.fixture(scope='module')
def made(config):
  return build(config_of(config, dropout=0.1))


@pytest.fixture(scope='module')
def four(made):
  """The state after four steps, and the losses."""
  return run(made, start(made), 4)


def numbers(tree):
  return sum(x.size for x in jax.tree.leaves(tree) if jnp.issubdtype(
      x.dtype, jnp.floating))


def test_adapters_alone_have_moments_and_change(made, four):
  first, (last, losses) = start(made), four
  trained = rules.by_name(first.params)
  assert set(trained) == {name for name in trained if name.startswith('lora/')}
  assert len(trained) == 2 * (4 + 2 + 2)  # a block's layers, and q and v of the text
  assert train_state.count(first.frozen) > 20 * train_state.count(first.params)
  assert numbers(last.opt_state) == 2 * train_state.count(first.params)
  jax.tree.map(np.testing.assert_array_equal, first.frozen, last.frozen)
  for name, value in rules.by_name(last.params).items():
    assert (value != trained[name]).any(), name
  assert np.isfinite(losses).all()


def test_a_resumed_run_goes_on_bitwise(made, four, tmp_path):
  class Place:
    """Of data that need none."""
    get_state, set_state = staticmethod(dict), staticmethod(lambda state: None)
  state, _ = run(made, start(made), 2)
  held = checkpoint.Checkpoints(str(tmp_path))
  held.save(2, state, Place)
  held.close()
  found = checkpoint.Checkpoints(str(tmp_path)).restore(
      checkpoint.shapes_of(made.create()), Place)
  last, _ = run(made, found, 2)
  jax.tree.map(np.testing.assert_array_equal, last, four[0])


def losses(c):
  """(Training, parameters -> (loss, gradient)) of one batch, and one draw."""
  made = build(c)
  drawn = made.objective.draw(KEY, (8, 16, 16, 3), jnp.ones(64), jnp.zeros(()))
  def loss(params):
    terms, _ = made.objective.loss(params, params, batch_of(0), drawn)
    return sum(terms.values()).mean()
  return made, jax.jit(jax.value_and_grad(loss))


def test_the_loss_and_its_gradient_are_those_of_the_merged_kernels(config):
  """At first the base's own, bit for bit; and anywhere, to rounding."""
  c = config_of(config)
  made, with_adapters = losses(c)
  plain = config_of(config, layers=(), rank=8, alpha=8.0)
  plain.optim.lr_scale = (('.*', 1.0),)
  base, without = losses(plain)
  state = made.create()
  params = train_state.combine(state.params, state.frozen)
  model = no_zeros({name: part for name, part in params.items() if name != 'lora'})
  params = model | {'lora': params['lora']}
  np.testing.assert_array_equal(with_adapters(params)[0], without(model)[0])
  params['lora'] = jax.tree.map(
      lambda x: x + 0.1 * jax.random.normal(KEY, x.shape), params['lora'])
  loss, grads = with_adapters(params)
  merged, pull = jax.vjp(
      lambda a: lora.merged(model, a, 2.0), params['lora'])  # alpha / rank
  other, at_merged = without(merged)
  np.testing.assert_allclose(loss, other, rtol=1e-5)
  (expected,) = pull(at_merged)
  for name, want in rules.by_name(expected).items():
    got = rules.by_name(grads['lora'])[name]
    assert abs(want).max() > 1e-6
    np.testing.assert_allclose(got, want, atol=2e-4 * abs(want).max(), err_msg=name)


def test_pictures_are_drawn_with_the_adapters_in_the_kernels(config):
  c = config_of(config, rslora=True)
  module = models.build(c)
  objective = build_objective(c, module)
  params = jax.jit(lambda key: init_params(c, module, objective, key))(KEY)
  params['lora'] = jax.tree.map(jnp.ones_like, params['lora'])
  drawn = drawn_params(objective, params)
  assert set(drawn) == {'text_encoder', 'backbone'}
  a, b = (tree['backbone']['blocks']['mlp']['up'] for tree in (drawn, params))
  more = 4.0 / np.sqrt(2) * 2  # alpha / sqrt(rank), and a sum over the rank
  np.testing.assert_allclose(a['kernel'], b['kernel'] + more, rtol=1e-6)
  assert a['bias'] is b['bias']


def test_the_base_may_be_stored_in_half_the_bytes(config):
  c = config_of(config)
  c.optim.frozen_dtype = 'bfloat16'
  made = build(c)
  def dtypes(tree):
    return {x.dtype.name for x in jax.tree.leaves(tree)}
  assert dtypes(made.shapes.frozen) == {'bfloat16'}
  assert dtypes(made.shapes.params) == {'float32'}
  state = train_state.with_part(made.create(), 'backbone/in', {
      'kernel': np.full((48, 16), 1.001, np.float32), 'bias': np.ones(16, np.float32)})
  kernel = state.frozen['backbone']['in']['kernel']
  assert kernel.dtype == jnp.bfloat16 and (kernel == 1).all()


@pytest.mark.parametrize('keys, lr_scale, said', [
    (dict(layers=('backbone/nothing',)), FREEZE, "'backbone/nothing', which is the n"),
    (dict(), (('.*', 1.0),), 'which config.optim.lr_scale trains, too'),
    (dict(layers=(), rank=2, alpha=8.0), FREEZE, 'config.lora.rank is 2, but'),
    (dict(layers=()), FREEZE, 'config.lora.'),
])
def test_what_makes_no_sense_is_named(config, keys, lr_scale, said):
  from configs import validation
  c = config_of(config, **keys)
  c.optim.lr_scale = lr_scale
  with pytest.raises(ValueError, match=said):
    validation.check(c)
    build(c)


def test_frozen_is_what_the_table_says(config):
  c = config_of(config)
  made = build(c)
  frozen = frozen_params(c, made.objective, jax.eval_shape(
      lambda key: init_params(c, made.module, made.objective, key), KEY))
  assert not any(jax.tree.leaves(frozen['lora']))
  assert all(jax.tree.leaves(frozen['backbone']))
