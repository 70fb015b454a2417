"""A kernel that has only a gradient, given tangents."""
import jax
from jax.custom_derivatives import linear_call, zero_from_primal
import jax.numpy as jnp


def with_tangents(kernel, plain):
  """`kernel`, whose tangents and their gradients are those of `plain`.

  A vendor's kernel has a gradient of its own and raises under jax.jvp. Here the
  tangent is a linear function of which both directions are written down: forwards that
  of `plain`, backwards the kernel's. So jax.grad alone runs the kernel and nothing
  else, as often as without this, under jax.checkpoint and in a scan too; jax.jvp runs
  the kernel and, for the tangent, `plain`; jax.grad of jax.jvp differentiates that.
  Not for jax.vmap of a derivative, nor for the gradient of a gradient.

  Args:
    kernel, plain: (q, k, v, mask) -> [b n heads d], equal, of q [b n heads d] and k and
      v [b m heads d], to which their derivatives are.
  """
  structure = []  # of what the kernel keeps for its gradient

  @jax.custom_jvp
  def attend(q, k, v, mask):
    return kernel(q, k, v, mask)

  @jax.custom_jvp
  def forward(q, k, v, mask):
    out, back = jax.vjp(lambda *qkv: kernel(*qkv, mask), q, k, v)
    kept, structure[:] = (lambda leaves, tree: (leaves, [tree]))(
        *jax.tree.flatten(back))
    return out, kept

  @jax.custom_jvp
  def tangent(primals, kept, along):
    return linear_call(
        lambda known, along: plain_tangent(known[0], along),
        lambda known, ct: joined(jax.tree.unflatten(structure[0], known[1])(ct)),
        (primals, kept), along)

  def plain_tangent(primals, along):
    q, k, v, mask = primals
    lengths = [q.shape[1], q.shape[1] + k.shape[1]]
    return jax.jvp(lambda *qkv: plain(*qkv, mask), (q, k, v),
                   tuple(jnp.split(along, lengths, 1)))[1]

  def forward_jvp(primals, tangents):
    out, kept = forward(*primals)
    change = tangent(primals, kept, joined(tangents[:3]))
    return (out, kept), (change, jax.tree.map(zero_from_primal, kept))

  def attend_jvp(primals, tangents):
    (out, _), (change, _) = forward_jvp(primals, tangents)
    return out, change

  def tangent_jvp(primals, tangents):
    (*qkv, mask), _, along = primals
    (*qkv_change, _), _, along_change = tangents
    return jax.jvp(lambda qkv, along: plain_tangent((*qkv, mask), along),
                   (qkv, along), (qkv_change, along_change))

  attend.defjvp(attend_jvp)
  forward.defjvp(forward_jvp)
  tangent.defjvp(tangent_jvp)
  return attend


def joined(qkv):
  """Three in one [b n+2m heads d]: a linear_call cannot tell some as known."""
  return jnp.concatenate(qkv, 1)
