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


def test_adamw_is_optax_adamw_with_decay_on_the_kernels_alone():
  c = config(weight_decay=(('.*kernel', 0.3), ('.*', 0.0)))
  ours, _ = optim.make(c, 100)
  mask = jax.tree.map_with_path(lambda path, _: 'kernel' in str(path), PARAMS)
  theirs = optax.adamw(c.lr, c.b1, c.b2, weight_decay=0.3, mask=mask)
  a = b = PARAMS
  state_a, state_b = ours.init(a), theirs.init(b)
  for i in range(5):
    u, state_a = ours.update(gradients(i), state_a, a)
    a = optax.apply_updates(a, u)
    u, state_b = theirs.update(gradients(i), state_b, b)
    b = optax.apply_updates(b, u)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), a, b)


def test_muon_steps_kernels_by_near_orthogonal_matrices():
  tx, _ = optim.make(config(name='muon', weight_decay=(('.*', 0.0),), lr=1.0), 100)
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


def test_gradients_are_clipped_by_their_global_norm():
  c = config(name='adamw', clip=1e-3, weight_decay=(('.*', 0.0),))
  tx, _ = optim.make(c, 10)
  clipped = optax.clip_by_global_norm(1e-3).update(gradients(0), ())[0]
  np.testing.assert_allclose(optax.global_norm(clipped), 1e-3, rtol=1e-5)
  a, _ = tx.update(gradients(0), tx.init(PARAMS), PARAMS)
  wide, _ = optim.make(config(weight_decay=(('.*', 0.0),)), 10)
  b, _ = wide.update(clipped, wide.init(PARAMS), PARAMS)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4), a, b)


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
    optim.make(config(**change), 10)


def test_a_parameter_without_a_rule_is_an_error():
  with pytest.raises(ValueError, match="no rule for the parameter 'embed/embedding'"):
    optim.check(config(weight_decay=(('.*kernel', 0.1),)), PARAMS)
  with pytest.raises(ValueError, match='which is no regex'):
    optim.check(config(weight_decay=(('*kernel', 0.1),)), PARAMS)
