"""Where activations lie on a mesh: each device has its share of the pictures."""
import contextlib
import math

from flax import linen as nn
import jax
from jax.sharding import PartitionSpec

BATCH = ('data', 'fsdp')  # axes of a mesh over which the pictures of a batch are spread
ALL = (*BATCH, 'tensor')  # those of what `tensor` has no way to split
FREE = PartitionSpec.UNCONSTRAINED


def compiled_axes(mesh, axes=ALL) -> tuple:
  """Those of a mesh's axes along which the compiler splits what is traced now; within a
  jax.shard_map over the others arrays are a device's own already."""
  return tuple(axis for axis in axes if axis not in mesh.manual_axes)


def split_batch(tree, axes=BATCH):
  """Keeps arrays [b ...] spread by pictures; what the devices do not divide is left.

  The mesh is that of `over`; outside of it nothing is done.
  """
  mesh = jax.sharding.get_abstract_mesh()
  if mesh.axis_names != ALL or mesh.size == 1:
    return tree
  choices = [compiled_axes(mesh, over) for over in (axes, BATCH)]
  def split(x):
    fits = (over for over in choices if getattr(x, 'ndim', 0) and not (
        x.shape[0] % math.prod(mesh.shape[axis] for axis in over)))
    if (over := next(fits, None)) is None:
      return x
    spec = PartitionSpec(over or None, *[FREE] * (x.ndim - 1))
    return jax.lax.with_sharding_constraint(x, spec)
  return jax.tree.map(split, tree)


def split_outputs(call, args, kwargs, context):
  """For nn.intercept_methods: what each module returns is spread by pictures."""
  out = call(*args, **kwargs)
  if context.method_name != '__call__':
    return out
  return split_batch(out, ALL if context.module.path[:1] == ('autoencoder',) else BATCH)


@contextlib.contextmanager
def over(mesh):
  """In which a program for a mesh of the axes data, fsdp and tensor is traced; None for
  one that stays on a single device.

  A compiler that is told only where parameters lie may find it cheaper to let every
  device work on all pictures than to fetch the weights of a layer. So what every module
  gives is held to the split of its batch; dimensions beyond the first are left to the
  compiler (those that `tensor` splits follow from the parameters).
  """
  if mesh is None:
    yield
    return
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh), (
      nn.intercept_methods(split_outputs)):
    yield
