"""Attention in blocks of queries, with every derivative that jax can ask of it.

A block is plain jax, and of its gradient only queries, keys and values are kept: the
softmax is computed again. So no more than one block of logits is held, forwards,
backwards, along a tangent or backwards through that; memory grows with queries and with
keys, not with their product; and no derivative is written by hand.
"""
import functools

import jax
import jax.numpy as jnp

FEWEST = 16  # queries of a block: fewer are slow everywhere


def attend(q, k, v, mask=None, causal=False, logits: int = 2**21):
  """Attention as models.attention.attend has it.

  Args:
    logits: how many a block has, over all heads of all pictures: as many as stay in the
      cache of a CPU, as fill an accelerator. Fewer than FEWEST queries it never has.
  """
  b, n, heads, d = q.shape
  rows = min(n, max(FEWEST, logits // (b * heads * k.shape[1])))
  count = -(-n // rows)
  rows = -(-n // count)  # as even as can be
  q = (q.astype(jnp.promote_types(q.dtype, jnp.float32)) * d**-0.5).astype(q.dtype)
  q = jnp.pad(q, ((0, 0), (0, count * rows - n), (0, 0), (0, 0)))
  q = q.reshape(b, count, rows, heads, d).transpose(1, 0, 3, 2, 4)  # [count b h r d]
  k, v = (y.transpose(0, 2, 3, 1) for y in (k, v))  # [b h d m]
  run = functools.partial(block, causal)
  for seen in (None, 0):  # over heads, which have one mask; then over pictures
    run = jax.vmap(run, (None, 0, 0, 0, seen if mask is not None else None))
  out = over_blocks(lambda first, q: run(first, q, k, v, mask), q)
  return out.transpose(1, 0, 3, 2, 4).reshape(b, count * rows, heads, d)[:, :n]


def over_blocks(run, q):
  """run(index of its first query, q[i]) for all i, stacked as q [count ... r d] is."""
  again = jax.checkpoint(run, prevent_cse=False)  # a loop's turns are not merged
  if len(q) == 1:  # nor is this one's in a scan over blocks of a network
    return again(0, q[0])[None]
  return jax.lax.map(lambda each: again(*each),
                     (jnp.arange(len(q)) * q.shape[-2], q))


def block(causal, first, q, k, v, seen):
  """Attention of some queries of one head over all of its keys.

  The layouts are those of which XLA's CPU has fast products in all directions: with
  [m d] in place of [d m] a gradient takes twice the time.

  Args:
    first: index of the first query, for `causal`.
    q: [r d], scaled. k, v: [d m]. seen: bool[m] or None. Returns [r d].
  """
  exact = dict(preferred_element_type=jnp.promote_types(q.dtype, jnp.float32))
  logits = jnp.dot(q, k, **exact)  # [r m]
  if causal:
    past = jnp.arange(k.shape[1]) <= first + jnp.arange(len(q))[:, None]
    seen = past if seen is None else past & seen
  if seen is not None:
    logits = jnp.where(seen, logits, -0.7 * jnp.finfo(logits.dtype).max)
  p = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
  out = jax.lax.dot_general(p.astype(v.dtype), v, (((1,), (1,)), ((), ())), **exact)
  return (out / p.sum(-1, keepdims=True)).astype(q.dtype)
