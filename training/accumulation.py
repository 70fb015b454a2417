"""Gradients of a batch in parts: each device adds up its own; they are reduced once."""
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from models import placement
from training import sharding


def split(x, parts: int):
  """[b ...] -> [parts b/parts ...]: each part has rows of every device, so that none
  has to move."""
  return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)


def in_parts(grad_fn, parts: int):
  """grad_fn over `parts` of a batch, one after another: the means of all.

  grad_fn: (trained, fixed, batch) -> ((loss, (terms, seen)), gradients to `trained`).
  """
  def run(trained, fixed, batch):
    def add(total, part):
      (loss, aux), grads = grad_fn(trained, fixed, part)
      return jax.tree.map(jnp.add, total, (loss, grads)), aux
    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, trained)
    batch = jax.tree.map(lambda x: split(x, parts), batch)
    total, (terms, seen) = jax.lax.scan(add, zero, batch)
    loss, grads = jax.tree.map(lambda x: x / parts, total)
    terms = jax.tree.map(lambda x: x.mean(0), terms)
    return (loss, (terms, jax.tree.map(lambda x: x.reshape(-1), seen))), grads
  return run


def reduced_once(run, gather_once: bool):
  """`run` of in_parts, of which every device does its rows alone; the gradients are
  reduced after it. A compiler that sees the loop reduces them in every turn.

  gather_once: over `fsdp`, too: weights are gathered before the loop, and each device
  holds all of them and of the gradients. If not, its parts go over fsdp in every turn.
  The mesh is that of placement.over.
  """
  mesh = jax.sharding.get_abstract_mesh()
  axes = tuple(axis for axis in placement.BATCH[:1 + gather_once]
               if mesh.axis_names == placement.ALL and mesh.shape[axis] > 1)
  if not axes:
    return run
  whole, rows = PartitionSpec(), PartitionSpec(axes)
  def keep(place, chosen):  # the axes of a sharding that are among some
    return PartitionSpec(*[axis if axis in chosen else None for axis in place.spec])
  def mean(grad, spec):
    rest, share = axes, 1
    if 'fsdp' in spec:  # each device keeps its part
      grad = jax.lax.psum_scatter(grad, 'fsdp', tiled=True,
                                  scatter_dimension=spec.index('fsdp'))
      rest, share = axes[:-1], mesh.shape['fsdp']
    return jax.lax.pmean(grad, rest) / share
  def all_of(trained, fixed, batch):
    placed = sharding.param_shardings(mesh, trained)
    kept = jax.tree.map(lambda place: keep(place, axes), placed)
    others = jax.tree.map(
        lambda place: keep(place, set(placement.ALL) - set(axes)), placed)
    def local(trained, fixed, batch):
      trained = jax.lax.with_sharding_constraint(trained, others)
      (loss, (terms, seen)), grads = run(trained, fixed, batch)
      loss, terms = jax.lax.pmean((loss, terms), axes)
      return (loss, (terms, seen)), jax.tree.map(mean, grads, kept)
    return jax.shard_map(local, in_specs=(whole, whole, rows), check_vma=False,
                         out_specs=((whole, (whole, rows)), kept),
                         axis_names=set(axes))(trained, fixed, batch)
  return all_of
