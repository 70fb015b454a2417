"""Attention is a softmax of products, whichever way it is computed."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import attention, layers, splash


def test_attention_is_a_softmax_over_what_is_seen():
  q, k, v = (jax.random.normal(jax.random.key(i), (2, 5, 3, 4)) for i in range(3))
  mask = jnp.array([[True] * 5, [True, True, False, False, True]])
  got = attention.attend(q, k, v, mask)
  for b in range(2):
    for h in range(3):
      logits = np.asarray(q[b, :, h] @ k[b, :, h].T) / 2.0
      e = np.exp(logits) * np.asarray(mask[b])
      expected = e / e.sum(-1, keepdims=True) @ np.asarray(v[b, :, h])
      np.testing.assert_allclose(got[b, :, h], expected, atol=1e-5)


def test_splash_attention_is_attention_on_one_device_and_on_a_mesh():
  q = jax.random.normal(jax.random.key(0), (4, 130, 2, 8))
  k, v = (jax.random.normal(jax.random.key(i), (4, 7, 2, 8)) for i in (1, 2))
  mask = jnp.arange(7)[None] < jnp.array([[5], [7], [1], [3]])
  def run(function):
    return jax.jit(jax.value_and_grad(
        lambda q, k, v: jnp.square(function(q, k, v, mask)).sum(), (0, 1, 2)))(q, k, v)
  want = run(attention.attend)
  def close(a, b):
    np.testing.assert_allclose(a, b, atol=1e-3, rtol=1e-3)
  jax.tree.map(close, run(functools.partial(splash.attend, interpret=True)), want)
  mesh = jax.make_mesh((2, 2, 2), ('data', 'fsdp', 'tensor'),
                       axis_types=(jax.sharding.AxisType.Auto,) * 3)
  assert splash.over_devices(q, interpret=True) is None  # no mesh is known
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    assert splash.over_devices(q[:3], interpret=True) is None
    over = splash.over_devices(q, interpret=True)
  def known(*args):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return over(*args)
  q, k, v, mask = jax.device_put((q, k, v, mask), jax.sharding.NamedSharding(
      mesh, jax.sharding.PartitionSpec()))
  jax.tree.map(close, run(known), want)
  rows = jax.sharding.PartitionSpec(('data', 'fsdp'))
  def within(*args):  # of what each device works on alone, as accumulated parts are
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
      return jax.shard_map(lambda q, *rest: splash.over_devices(q, True)(q, *rest),
                           in_specs=rows, out_specs=rows, check_vma=False,
                           axis_names={'data', 'fsdp'})(*args)
  jax.tree.map(close, run(within), want)


def test_cudnn_is_asked_once_and_left_where_it_fails(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  attention.cudnn_takes.cache_clear()
  q = jnp.ones((1, 3, 1, 8), jnp.bfloat16)
  with pytest.warns(UserWarning, match='without cuDNN'):
    out = attention.attend(q, q, q)
  np.testing.assert_array_equal(out, q)
  attention.attend(q, q, q)  # says nothing a second time
  attention.cudnn_takes.cache_clear()


def test_rotary_positions_turn_by_row_and_column():
  """Products of turned vectors depend on how far apart their places are, alone."""
  rotate = layers.rotary(4, 5, 8)
  q, k = (jnp.ones((1, 20, 1, 1)) * jax.random.normal(jax.random.key(i), (8,))
          for i in (0, 1))
  products = jnp.einsum('bnhd,bmhd->nm', rotate(q), rotate(k)).reshape(4, 5, 4, 5)
  np.testing.assert_allclose(products[0, 0, 2, 1], products[1, 3, 3, 4], rtol=1e-4)
  np.testing.assert_allclose(products[2, 2, 0, 0], products[3, 4, 1, 2], rtol=1e-4)
  assert abs(products[0, 0, 2, 1] - products[0, 0, 1, 2]) > 1e-2
  np.testing.assert_allclose(jnp.square(rotate(q)).sum(-1), jnp.square(q).sum(-1),
                             rtol=1e-5)
