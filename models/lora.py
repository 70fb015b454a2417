"""Low-rank adapters of chosen layers: LoRA, arXiv:2106.09685, and DoRA, 2402.09353.

Beside the kernel W of a layer stand two small ones, a of `rank` outputs and b of as
many inputs, zero at first:

    LoRA (eq. 3):  V = W + scale a b
    DoRA (eq. 5):  V = gain |W| (W + scale a b) / |W + scale a b|

|.| is the norm over the inputs of an output; gain, one at first, is the paper's
magnitude over its first value. Of a convolution a has its places and strides, and b is
one of one place. Blocks that are stacked keep the block as the first axis of all.

Adapters are a tree like that of parameters: a layer has {'a', 'b'} and maybe 'gain'
where its kernel would be. In training they run beside their layers (`beside`), so that
no gradient of W is ever made and dropout is of the layer's inputs; to draw and to
export with, they become part of the kernels (`merged`).
"""
import math
import re
from typing import NamedTuple

from flax import linen as nn, traverse_util
import jax
import jax.numpy as jnp

KINDS = nn.Dense, nn.DenseGeneral, nn.Conv  # of layers that can be adapted


class Layer(NamedTuple):
  """Shapes of the kernel of a layer; it may be stacked."""
  inputs: tuple[int, ...]   # with the places of a convolution before them
  outputs: tuple[int, ...]


def layers_of(init) -> dict[str, Layer]:
  """{name: Layer} of all layers of a module that can be adapted.

  init: key -> the module's parameters, as models.init_params; it is only traced.
  """
  found = {}
  def note(call, args, kwargs, context):
    out, layer = call(*args, **kwargs), context.module
    if is_layer(context):
      shape = layer.get_variable('params', 'kernel').shape
      n = len(layer.features) if isinstance(layer.features, tuple) else 1
      found['/'.join(layer.path)] = Layer(shape[:-n], shape[-n:])
    return out
  with nn.intercept_methods(note):
    jax.eval_shape(lambda key: init(key), jax.random.key(0))  # one that no cache has
  return found


def is_layer(context) -> bool:
  """Whether a call that flax intercepts is that of a layer that can be adapted."""
  return isinstance(context.module, KINDS) and context.method_name == '__call__'


def chosen(layers: dict[str, Layer], regexes) -> dict[str, Layer]:
  """Those of the layers whose whole name one of the regexes matches.

  Raises ValueError for a regex that matches none, or is none.
  """
  found = {}
  for regex in regexes:
    try:
      some = {name: layer for name, layer in layers.items()
              if re.fullmatch(regex, name)}
    except (re.error, TypeError) as e:
      raise ValueError(f'config.lora.layers has {regex!r}, which is no regex: {e}'
                       ) from e
    if not some:
      raise ValueError(f'config.lora.layers has {regex!r}, which is the name of no '
                       f'layer; names are such as {", ".join(examples(layers))}.')
    found |= some
  return found


def examples(layers) -> list[str]:
  """Names of a few layers, for a message."""
  names = sorted(name for name in layers if name.startswith('backbone/')) or [
      *sorted(layers), 'none: this model has no layer that can be adapted']
  return names[:: max(1, len(names) // 3)][:3]


def init_adapters(key, params, layers: dict[str, Layer], rank: int, dora: bool = False):
  """Adapters of those layers that change nothing yet, float32.

  a is uniform in +-1/sqrt(inputs), as in PEFT. params: of the module; their shapes.
  """
  kernels, made = traverse_util.flatten_dict(params, sep='/'), {}
  for i, (name, layer) in enumerate(sorted(layers.items())):
    kernel = kernels[f'{name}/kernel']
    stack = kernel.shape[:kernel.ndim - len(layer.inputs + layer.outputs)]
    bound = 1 / math.sqrt(math.prod(layer.inputs))
    made[f'{name}/a'] = jax.random.uniform(
        jax.random.fold_in(key, i), (*stack, *layer.inputs, rank), minval=-bound,
        maxval=bound)
    made[f'{name}/b'] = jnp.zeros((*stack, rank, *layer.outputs))
    if dora:
      made[f'{name}/gain'] = jnp.ones((*stack, *layer.outputs))
  return traverse_util.unflatten_dict(made, sep='/')


def inserted(params, adapters):
  """Parameters with adapters beside the kernels, as `beside` looks for them."""
  if not isinstance(adapters, dict):
    return adapters
  return params | {name: inserted(params.get(name), part)
                   for name, part in adapters.items()}


def beside(scale: float, dropout: float = 0.0):
  """A context in which layers with adapters `inserted` into their parameters use them.

  scale: of the adapters. dropout: share of a layer's inputs that an adapter does not
  see, where the caller gives an rng of that name.
  """
  def run(call, args, kwargs, context):
    y, layer = call(*args, **kwargs), context.module
    if not (is_layer(context) and layer.has_variable('params', 'a')):
      return y
    (x,), p = args, layer.variables['params']
    if dropout and layer.has_rng('dropout'):
      keep = jax.random.bernoulli(layer.make_rng('dropout'), 1 - dropout, x.shape)
      x = jnp.where(keep, x / (1 - dropout), 0).astype(x.dtype)
    small = layer.clone(features=p['a'].shape[-1], use_bias=False, parent=None)
    more = small.apply({'params': {'kernel': p['a']}}, x)
    more = scale * jnp.tensordot(more, p['b'].astype(more.dtype), 1)
    if 'gain' not in p:
      return y + more
    ratio = dora_ratio(p['kernel'], p, scale).astype(y.dtype)
    of_kernel = y - p['bias'].astype(y.dtype) if layer.use_bias else y
    return y + (ratio - 1) * of_kernel + ratio * more
  return nn.intercept_methods(run)


def delta(kernel, adapter, scale):
  """scale a b, shaped like the kernel, float32."""
  a, b = (adapter[name].astype(jnp.float32) for name in 'ab')
  outputs = kernel.ndim - (a.ndim - 1)
  stack = kernel.shape[:b.ndim - 1 - outputs]
  flat_a = a.reshape(*stack, -1, a.shape[-1])             # [... inputs rank]
  flat_b = b.reshape(*stack, a.shape[-1], -1)             # [... rank outputs]
  product = jnp.matmul(flat_a, flat_b, precision='highest')
  return scale * product.reshape(kernel.shape)


def dora_ratio(kernel, adapter, scale):
  """gain |W| / |W + scale a b|, f32[... outputs]. Gradients are of the gain alone, as
  section 4.3 of the paper has it."""
  w = kernel.astype(jnp.float32)
  v = w + delta(kernel, adapter, scale)
  gain = adapter['gain'].astype(jnp.float32)
  first = gain.ndim - (kernel.ndim - (adapter['a'].ndim - 1))  # axes of the stack
  inputs = tuple(range(first, adapter['a'].ndim - 1))
  norm_w, norm_v = (jnp.sqrt(jnp.square(x).sum(inputs)) for x in (w, v))
  return gain * jax.lax.stop_gradient(norm_w / norm_v)


@jax.jit  # once for all layers of one shape
def merged_kernel(kernel, adapter, scale):
  """V of the module's docstring, in the kernel's dtype."""
  v = kernel.astype(jnp.float32) + delta(kernel, adapter, scale)
  if 'gain' in adapter:
    ratio = dora_ratio(kernel, adapter, scale)
    outputs = kernel.ndim - (adapter['a'].ndim - 1)
    split = ratio.ndim - outputs
    v *= ratio.reshape(*ratio.shape[:split], *[1] * (kernel.ndim - ratio.ndim),
                       *ratio.shape[split:])
  return v.astype(kernel.dtype)


def merged(params, adapters, scale):
  """Parameters whose kernels have the adapters in them. scale may be traced."""
  if 'a' in adapters and 'kernel' in params:
    return params | {'kernel': merged_kernel(params['kernel'], adapters, scale)}
  return params | {name: merged(params[name], part, scale)
                   for name, part in adapters.items()}
