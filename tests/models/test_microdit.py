"""Experts that choose their tokens, and the blocks around them."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models.backbones import experts, microdit
from helpers.small_models import built

D, N, E = 4, 12, 3
X = jax.random.normal(jax.random.key(0), (2, N, D))


def moved(shapes):
  """Parameters of a normal: much is zero or small at first."""
  rng = np.random.default_rng(1)
  return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), shapes)


PARAMS = moved(jax.eval_shape(
    experts.Experts(E, 1.0, 8, 0.02, jnp.float32).init, jax.random.key(0), X))


@functools.partial(jax.jit, static_argnums=1)
def run(x, capacity):
  return experts.Experts(E, capacity, 8, 0.02, jnp.float32).apply(PARAMS, x)


def shares(x):
  logits = x @ PARAMS['params']['router']['kernel']
  return np.asarray(jax.nn.softmax(logits))  # [b n e]


def test_experts_that_take_all_tokens_are_a_mean_by_shares():
  kernels = PARAMS['params']['expert_blocks']
  h = jnp.einsum('bnd,edh->bnhe', X, kernels['up']['kernel'])
  h = h / 2 * (1 + jax.scipy.special.erf(h / np.sqrt(2)))
  y = jnp.einsum('bnhe,ehd->bned', h, kernels['down']['kernel'])
  np.testing.assert_allclose(run(X, float(E)), (y * shares(X)[..., None]).sum(2),
                             rtol=1e-4, atol=1e-4)


def test_an_expert_takes_its_share_of_tokens_and_the_others_pass_by():
  """At a capacity of half an expert a token, each of 3 takes 2 of 12 tokens."""
  out, order = np.asarray(run(X, 0.5)), np.argsort(-shares(X), 1)
  for i in range(len(X)):
    chosen = np.isin(np.arange(N), order[i, :2])
    assert 2 <= chosen.sum() <= 2 * E
    np.testing.assert_array_equal(out[i, ~chosen], 0)
    assert np.abs(out[i, chosen]).max(-1).min() > 1e-3


def test_a_block_does_not_mind_the_order_of_patches():
  block = microdit.Block(2, 0.5, 2.0, 4, E, 1.0, 0.02, jnp.float32)
  text, c = (jax.random.normal(jax.random.key(i), s) for i, s in ((1, (2, 5, D)),
                                                                  (2, (2, 6))))
  params = moved(jax.eval_shape(block.init, jax.random.key(0), X, text, c))
  apply = jax.jit(block.apply)
  order = np.random.default_rng(3).permutation(N)
  whole = apply(params, X, text, c)
  assert jnp.abs(whole - X).max() > 0.1
  np.testing.assert_allclose(apply(params, X[:, order], text, c), whole[:, order],
                             rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('fields, message', [
    ({'attention': (0.5,)}, r'config.model.attention is \(0.5,\); it has an entry'),
    ({'mlp': (0.0, 4.0)}, 'config.model.mlp is'),
    ({'mixer_width': 100}, 'config.model.width / config.model.heads is 64'),
    ({'capacity': 9.0}, 'config.model.capacity is 9.0; for 8 experts and 64 patches'),
    ({'capacity': 0.1}, 'it must be from 0.125 to 8'),
])
def test_a_wrong_config_is_refused_by_name(fields, message):
  with pytest.raises(ValueError, match=message):
    built(dict(name='microdit', **fields), dict(name='none'), size=16)


def test_it_needs_a_text():
  with pytest.raises(ValueError, match="condition.name is 'none', which gives no text"):
    built(dict(name='microdit'), dict(name='none'), size=16)
