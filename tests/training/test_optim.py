"""Optimizers against their definitions."""
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import optax
import pytest

from configs import base
from training import optim

PARAMS = {'mlp': {'kernel': jnp.arange(12.0).reshape(4, 3) / 10, 'bias': jnp.ones(3)},
          'embed': {'embedding': jnp.ones((5, 2))}}


def config(**changes):
  c = ConfigDict(base.get_config().optim.to_dict())
  c.update(dict(warmup=0, decay='constant', clip=1e9) | changes)
  return c


def gradients(i):
  rng = np.random.default_rng(i)
  return jax.tree.map(
      lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), PARAMS)


@pytest.mark.parametrize('name', ['adamw', 'lion', 'adafactor'])
def test_an_optimizer_is_that_of_optax_with_decay_on_the_kernels_alone(name):
  c = config(name=name, weight_decay=(('.*kernel', 0.3), ('.*', 0.0)))
  ours, _ = optim.build(c, 100)
  mask = jax.tree.map_with_path(lambda path, _: 'kernel' in str(path), PARAMS)
  adafactor = optax.chain(  # optax.adafactor itself decays before its first moment
      optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0),
      optax.ema(c.b1, debias=False), optax.add_decayed_weights(0.3, mask),
      optax.scale(-c.lr))
  theirs = {'adamw': optax.adamw(c.lr, c.b1, c.b2, weight_decay=0.3, mask=mask),
            'lion': optax.lion(c.lr, c.b1, c.b2, weight_decay=0.3, mask=mask),
            'adafactor': adafactor}[name]
  a = b = PARAMS
  state_a, state_b = ours.init(a), theirs.init(b)
  for i in range(5):
    u, state_a = ours.update(gradients(i), state_a, a)
    a = optax.apply_updates(a, u)
    u, state_b = theirs.update(gradients(i), state_b, b)
    b = optax.apply_updates(b, u)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)


def test_muon_steps_kernels_by_near_orthogonal_matrices():
  tx, _ = optim.build(config(name='muon', weight_decay=(('.*', 0.0),), lr=1.0), 100)
  update, _ = tx.update(gradients(0), tx.init(PARAMS), PARAMS)
  values = np.linalg.svd(update['mlp']['kernel'], compute_uv=False)
  size = 0.2 * 4**0.5  # arXiv:2502.16982 eq. 4; Newton-Schulz leaves 0.7 to 1.2 of it
  assert (0.6 * size < values).all() and (values < 1.3 * size).all()
  direction = (update['mlp']['kernel'] * gradients(0)['mlp']['kernel']).sum()
  assert direction < 0
  adam = optax.scale_by_adam(0.9, 0.99, nesterov=True)
  expected, _ = adam.update(gradients(0), adam.init(PARAMS))
  np.testing.assert_allclose(update['embed']['embedding'],
                             -expected['embed']['embedding'], atol=1e-5)


def test_muon_takes_stacked_blocks_one_by_one():
  rng = np.random.default_rng(0)
  def update(name, values):
    tree, tx = {name: {'q': {'kernel': values}}}, optim.muon(0.9, 0.99)
    return tx.update(tree, tx.init(tree), tree)[0][name]['q']['kernel']
  values = jnp.asarray(rng.normal(size=(2, 6, 2, 4)), jnp.float32)  # [block d heads h]
  together = update('blocks', values)
  for i in range(2):
    np.testing.assert_allclose(together[i], update('block', values[i]), atol=2e-3)


def test_rates_are_scaled_by_name():
  update = {}
  for scale in (1.0, 0.25):
    c = config(weight_decay=(('.*', 0.1),), lr_scale=(('mlp/.*', scale), ('.*', 1.0)))
    tx, _ = optim.build(c, 10)
    update[scale], _ = tx.update(gradients(0), tx.init(PARAMS), PARAMS)
  np.testing.assert_allclose(update[0.25]['mlp']['kernel'],
                             0.25 * update[1.0]['mlp']['kernel'], rtol=1e-6)
  np.testing.assert_array_equal(update[0.25]['embed']['embedding'],
                                update[1.0]['embed']['embedding'])


@pytest.mark.parametrize('name', sorted(optim.OPTIMIZERS))
def test_frozen_parameters_have_no_state(name):
  """They are left out of the tree (None): an optimizer sees the others alone."""
  c = config(name=name, lr_scale=(('embed/.*', 0.0), ('.*', 1.0)))
  assert optim.frozen(c, PARAMS) == {
      'mlp': {'kernel': False, 'bias': False}, 'embed': {'embedding': True}}
  trained = PARAMS | {'embed': {'embedding': None}}
  tx, _ = optim.build(c, 10)
  grads = gradients(0) | {'embed': {'embedding': None}}
  state = tx.init(trained)
  assert not [x for x in jax.tree.leaves(state) if jnp.shape(x) == (5, 2)]
  update, _ = tx.update(grads, state, trained)
  assert update['embed']['embedding'] is None
  whole, _ = optim.build(config(name=name), 10)
  expected, _ = whole.update(gradients(0), whole.init(PARAMS), PARAMS)
  np.testing.assert_allclose(
      update['mlp']['kernel'], expected['mlp']['kernel'], rtol=1e-6)


def test_everything_frozen_is_a_mistake():
  with pytest.raises(ValueError, match='nothing is left to train'):
    optim.check(config(lr_scale=(('.*', 0.0),)), PARAMS)


def test_chosen_kernels_stay_at_unit_magnitude():
  c = config(lr=0.5, unit_rms=(('mlp/.*', True), ('.*', False)))
  tx, _ = optim.build(c, 10)
  update, _ = tx.update(gradients(0), tx.init(PARAMS), PARAMS)
  new = optax.apply_updates(PARAMS, update)
  np.testing.assert_allclose(
      jnp.square(new['mlp']['kernel']).mean(0), 1, rtol=1e-5)  # of each output
  plain, _ = optim.build(config(lr=0.5), 10)
  free, _ = plain.update(gradients(0), plain.init(PARAMS), PARAMS)
  free = optax.apply_updates(PARAMS, free)['mlp']['kernel']
  direction = free / jnp.sqrt(jnp.square(free).mean(0))
  np.testing.assert_allclose(new['mlp']['kernel'], direction, rtol=1e-4)


def test_gradients_are_clipped_by_their_global_norm():
  c = config(name='adamw', clip=1e-3, weight_decay=(('.*', 0.0),))
  tx, _ = optim.build(c, 10)
  clipped = optax.clip_by_global_norm(1e-3).update(gradients(0), ())[0]
  np.testing.assert_allclose(optax.global_norm(clipped), 1e-3, rtol=1e-5)
  a, _ = tx.update(gradients(0), tx.init(PARAMS), PARAMS)
  wide, _ = optim.build(config(weight_decay=(('.*', 0.0),)), 10)
  b, _ = wide.update(clipped, wide.init(PARAMS), PARAMS)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4), a, b)


def test_the_rate_falls_with_the_root_of_the_step():
  rate = optim.learning_rate(2.0, 100, 10, 'rsqrt', 0.25)  # arXiv:2312.02696 eq. 67
  got = [float(rate(i)) for i in (24, 25, 50, 100)]
  np.testing.assert_allclose(got, [2, 2, 2 / 2**0.5, 1], rtol=1e-5)


@pytest.mark.parametrize('decay', ['cosine', 'linear', 'constant'])
def test_the_rate_warms_up_stays_and_decays(decay):
  rate = optim.learning_rate(2.0, 100, 10, decay, 0.5)
  values = np.array([rate(i) for i in range(101)])
  np.testing.assert_allclose(values[:10], 0.2 * np.arange(1, 11), rtol=1e-5)
  np.testing.assert_allclose(values[10:50], 2.0)
  middle = {'cosine': 1.0, 'linear': 1.0, 'constant': 2.0}[decay]
  np.testing.assert_allclose(values[75], middle, rtol=1e-5)
  np.testing.assert_allclose(values[100], 2.0 if decay == 'constant' else 0, atol=1e-6)
  assert (np.diff(values[50:]) <= 1e-9).all()


@pytest.mark.parametrize('change, message', [
    (dict(name='sgdx'), "config.optim.name is 'sgdx'"),
    (dict(decay='step'), "config.optim.decay is 'step'")])
def test_unknown_choices_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    optim.build(config(**change), 10)


def test_a_parameter_without_a_rule_is_an_error():
  with pytest.raises(ValueError, match="no rule for the parameter 'embed/embedding'"):
    optim.check(config(weight_decay=(('.*kernel', 0.1),)), PARAMS)
  with pytest.raises(ValueError, match='which is no regex'):
    optim.check(config(weight_decay=(('*kernel', 0.1),)), PARAMS)
