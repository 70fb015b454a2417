"""Attention in blocks, and its four derivatives, against the formula in float64."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import blocked_attention, splash, tangents


def formula(q, k, v, mask=None, causal=False):
  """softmax(q k^T / sqrt(d)) v as it stands in arXiv:1706.03762 eq. 1."""
  logits = jnp.einsum('bnhd,bmhd->bhnm', q, k) / np.sqrt(q.shape[-1])
  seen = jnp.ones(logits.shape, bool) if mask is None else mask[:, None, None, :]
  if causal:
    seen = seen & jnp.tri(*logits.shape[-2:], dtype=bool)
  weights = jnp.where(seen, jnp.exp(logits), 0)
  return jnp.einsum('bhnm,bmhd->bnhd', weights / weights.sum(-1, keepdims=True), v)


def all_derivatives(run, primals, along, w):
  """(out, gradient, tangent, gradient of both along a direction) of run(q, k, v)."""
  def total(*primals):
    out, change = jax.jvp(run, primals, along)
    return jnp.vdot(out, jnp.sin(w)) + jnp.vdot(change, w), (out, change)
  grads, (out, change) = jax.grad(total, (0, 1, 2), has_aux=True)(*primals)
  grad = jax.grad(lambda *primals: jnp.vdot(run(*primals), w), (0, 1, 2))(*primals)
  return out, grad, change, grads


def draw(rng, b, n, m, heads, d):
  sizes = [(b, n, heads, d), (b, m, heads, d), (b, m, heads, d)]
  primals, along = (tuple(rng.normal(size=s) for s in sizes) for _ in range(2))
  return primals, along, rng.normal(size=sizes[0])


def as_type(tree, dtype):
  return jax.tree.map(lambda x: jnp.asarray(x, dtype), tree)


def close(got, expected, share=2e-5):
  """To a share of the greatest value, or of 1, as all that is drawn has that size.
  Where one key alone is seen, the gradient to its queries is zero."""
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=share * max(1, np.abs(b).max()), rtol=0)


@pytest.mark.parametrize('case', range(4))
def test_blocks_have_the_derivatives_of_the_formula(case):
  seed = np.random.SeedSequence().entropy % 2**32
  print('seed', seed)
  rng = np.random.default_rng(seed)
  (b, heads), d = rng.integers(1, 4, 2), rng.integers(1, 34)
  n, m = rng.integers(1, 70, 2)
  causal, masked = case % 2, case // 2
  n = max(n, 17) if case else n  # more than one block but in the first case
  mask = (np.arange(m) < rng.integers(1, m + 1, (b, 1))) if masked else None
  drawn = draw(rng, b, n, m, heads, d)
  run = functools.partial(blocked_attention.attend, mask=mask, causal=bool(causal),
                          logits=1)
  got = jax.jit(functools.partial(all_derivatives, run))(*as_type(drawn, jnp.float32))
  with jax.enable_x64():
    want = jax.jit(functools.partial(all_derivatives, functools.partial(
        formula, mask=mask, causal=causal)))(*as_type(drawn, jnp.float64))
    close(got, want)


def test_remat_and_scan_over_blocks_of_a_network_keep_the_derivatives():
  drawn = as_type(draw(np.random.default_rng(0), 1, 40, 40, 2, 4), jnp.float32)
  def network(attend, q, k, v):
    turn = jax.checkpoint(lambda x, scale: (attend(scale * x, k, v), None))
    return jax.lax.scan(turn, q, jnp.array([1.0, 0.5, 2.0]))[0]
  got, want = (jax.jit(functools.partial(all_derivatives, functools.partial(
      network, attend)))(*drawn) for attend in (
          functools.partial(blocked_attention.attend, logits=1), formula))
  close(got, want)


def temporary(run, n: int, derivative) -> int:
  """Bytes that the compiled derivative needs beside what it is given and returns."""
  x = jax.ShapeDtypeStruct((1, n, 2, 8), jnp.float32)
  program = jax.jit(functools.partial(derivative, run)).lower(x, x, x).compile()
  return program.memory_analysis().temp_size_in_bytes


def tangent(run, *primals):
  return jax.jvp(run, primals, primals)[1]


DERIVATIVES = {
    'forward': lambda run, *primals: run(*primals),
    'gradient': lambda run, *primals: jax.grad(
        lambda *primals: jnp.square(run(*primals)).sum(), (0, 1, 2))(*primals),
    'tangent': tangent,
    'gradient of tangent': lambda run, *primals: jax.grad(
        lambda *primals: jnp.square(tangent(run, *primals)).sum(), (0, 1, 2))(*primals),
}


@pytest.mark.parametrize('name', DERIVATIVES)
def test_memory_grows_with_length_not_with_its_square(name):
  run = functools.partial(blocked_attention.attend, logits=2**15)
  sizes = [temporary(run, n, DERIVATIVES[name]) for n in (1024, 4096)]
  assert sizes[1] < 4.2 * sizes[0] + 2**15
  assert sizes[1] < 2 * 4096**2 * 4 / 8  # of all logits, an eighth
  assert temporary(formula, 4096, DERIVATIVES[name]) >= 2 * 4096**2 * 4


def test_bfloat16_is_accumulated_in_float32():
  """4096 keys of equal weight: a sum in bfloat16 would stop growing at 256."""
  q, k = jnp.zeros((1, 3, 1, 4), jnp.bfloat16), jnp.zeros((1, 4096, 1, 4), jnp.bfloat16)
  v = jnp.broadcast_to(jnp.bfloat16(0.5), k.shape)
  out = blocked_attention.attend(q, k, v)
  assert out.dtype == jnp.bfloat16
  np.testing.assert_array_equal(out, jnp.full(q.shape, 0.5, jnp.bfloat16))


def test_large_logits_overflow_nothing():
  q = jnp.full((1, 2, 1, 4), 1e4)  # logits of 2e8, both alike
  out, back = jax.vjp(lambda v: blocked_attention.attend(q, q, v), q)
  np.testing.assert_allclose([out, *back(q)], [q, q], rtol=1e-6)


def counted(calls):
  """A kernel like a vendor's: with a gradient of its own, and no tangents."""
  @jax.custom_vjp
  def kernel(q, k, v, mask):
    calls.append('out')
    return formula(q, k, v, mask)
  def forward(q, k, v, mask):
    calls.append('forward')
    return jax.vjp(lambda *qkv: formula(*qkv, mask), q, k, v)
  def backward(kept, ct):
    calls.append('backward')
    return *kept(ct), None
  kernel.defvjp(forward, backward)
  return kernel


def test_a_kernel_keeps_its_gradient_and_gets_tangents():
  rng, calls = np.random.default_rng(0), []
  primals, along, w = as_type(draw(rng, 2, 9, 5, 2, 4), jnp.float32)
  mask = jnp.arange(5)[None] < jnp.array([[5], [2]])
  kernel = counted(calls)
  with pytest.raises(TypeError, match='forward-mode'):
    jax.jvp(lambda q: kernel(q, *primals[1:], mask), primals[:1], along[:1])
  def network(attend):
    others = primals[1:]  # constants, of which no derivative is asked
    turn = jax.checkpoint(lambda x, scale: (attend(scale * x, *others, mask), None))
    return lambda q, k, v: attend(jax.lax.scan(turn, q, jnp.ones(2))[0], k, v, mask)
  def plain(*args):
    return blocked_attention.attend(*args, logits=1)
  attend = tangents.with_tangents(kernel, plain)
  calls.clear()
  jax.jit(jax.grad(lambda *primals: attend(*primals, mask).sum(), (0, 1, 2)))(*primals)
  assert calls == ['forward', 'backward']  # the kernel alone, and once
  jax.eval_shape(attend, *primals, mask)
  assert calls[2:] == ['out']  # which keeps nothing for a gradient
  got, want = (jax.jit(functools.partial(all_derivatives, network(attend)))(
      primals, along, w) for attend in (attend, formula))
  close(got, want)


def test_splash_attention_gets_tangents():
  q, k, v = (jax.random.normal(jax.random.key(i), (1, n, 1, 8))
             for i, n in enumerate((130, 7, 7)))
  attend = tangents.with_tangents(functools.partial(splash.attend, interpret=True),
                                  blocked_attention.attend)
  got, want = (jax.jit(functools.partial(all_derivatives, lambda *qkv: run(
      *qkv, None)))((q, k, v), (q, k, v), q) for run in (attend, formula))
  close(got, want, share=1e-3)
