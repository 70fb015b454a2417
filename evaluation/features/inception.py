"""Inception v3 of FID: the graph of 2015-12-05, arXiv:1512.00567 and arXiv:1706.08500.

It is not torchvision's: average pools leave the padding out of their mean, the last
block has a maximum in place of one, and it knows 1008 classes. Names of layers are
those that its PyTorch files have. Normalisations are folded into their convolutions
(`fold`), as they are fixed.
"""
import functools

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

SIZE = 299
EPS = 1e-3  # of the normalisations
SPATIAL = 7  # channels that sFID takes: 7 * 17 * 17 = 2023
OUTPUTS = {'pool': 2048, 'logits': 1008, 'spatial': SPATIAL * 17 * 17}

# A branch is layers one after another: (name, width, kernel[, stride]), a pool, or a
# list of branches whose outputs stand side by side. A layer of stride 1 keeps the size.


def block_a(pool):
  return [[('branch1x1', 64, 1)], [('branch5x5_1', 48, 1), ('branch5x5_2', 64, 5)],
          [('branch3x3dbl_1', 64, 1), ('branch3x3dbl_2', 96, 3),
           ('branch3x3dbl_3', 96, 3)], ['mean', ('branch_pool', pool, 1)]]


def block_c(width):
  across, down = (1, 7), (7, 1)
  return [[('branch1x1', 192, 1)],
          [('branch7x7_1', width, 1), ('branch7x7_2', width, across),
           ('branch7x7_3', 192, down)],
          [('branch7x7dbl_1', width, 1), ('branch7x7dbl_2', width, down),
           ('branch7x7dbl_3', width, across), ('branch7x7dbl_4', width, down),
           ('branch7x7dbl_5', 192, across)], ['mean', ('branch_pool', 192, 1)]]


def block_e(pool):
  return [[('branch1x1', 320, 1)],
          [('branch3x3_1', 384, 1), [[('branch3x3_2a', 384, (1, 3))],
                                     [('branch3x3_2b', 384, (3, 1))]]],
          [('branch3x3dbl_1', 448, 1), ('branch3x3dbl_2', 384, 3),
           [[('branch3x3dbl_3a', 384, (1, 3))], [('branch3x3dbl_3b', 384, (3, 1))]]],
          [pool, ('branch_pool', 192, 1)]]


STEM = [('Conv2d_1a_3x3', 32, 3, 2), ('Conv2d_2a_3x3', 32, 3, 'valid'),
        ('Conv2d_2b_3x3', 64, 3), 'halve', ('Conv2d_3b_1x1', 80, 1),
        ('Conv2d_4a_3x3', 192, 3, 'valid'), 'halve']
BLOCKS = {
    'Mixed_5b': block_a(32), 'Mixed_5c': block_a(64), 'Mixed_5d': block_a(64),
    'Mixed_6a': [[('branch3x3', 384, 3, 2)],
                 [('branch3x3dbl_1', 64, 1), ('branch3x3dbl_2', 96, 3),
                  ('branch3x3dbl_3', 96, 3, 2)], ['halve']],
    'Mixed_6b': block_c(128), 'Mixed_6c': block_c(160), 'Mixed_6d': block_c(160),
    'Mixed_6e': block_c(192),
    'Mixed_7a': [[('branch3x3_1', 192, 1), ('branch3x3_2', 320, 3, 2)],
                 [('branch7x7x3_1', 192, 1), ('branch7x7x3_2', 192, (1, 7)),
                  ('branch7x7x3_3', 192, (7, 1)), ('branch7x7x3_4', 192, 3, 2)],
                 ['halve']],
    'Mixed_7b': block_e('mean'), 'Mixed_7c': block_e('max')}


def pool(x, kind: str):
  """Of 3x3, 'halve': maxima at stride 2; 'max' and 'mean' keep the size.

  Rows and columns by themselves, as slices: XLA's own windows are slow on CPUs.
  """
  stride = 2 if kind == 'halve' else 1
  op = jnp.add if kind == 'mean' else jnp.maximum
  for axis in (1, 2):
    size = x.shape[axis] if stride == 1 else (x.shape[axis] - 3) // 2 + 1
    if stride == 1:
      edges = [(int(i == axis),) * 2 for i in range(4)]
      x = jnp.pad(x, edges, constant_values=0 if kind == 'mean' else -jnp.inf)
    parts = (jax.lax.slice_in_dim(x, i, i + stride * (size - 1) + 1, stride, axis)
             for i in range(3))
    x = functools.reduce(op, parts)
  if kind == 'mean':  # of those inside: 3 in the middle, 2 at an edge
    rows, columns = (3 - np.isin(np.arange(n), (0, n - 1)) for n in x.shape[1:3])
    x = x * np.float32(1 / np.outer(rows, columns))[..., None]
  return x


def conv(x, name: str, width: int, kernel, stride=1):
  """A convolution and what is above 0 of it. stride: 1, 2, or 'valid' for 1 unpadded.

  Where nothing is padded a row and a column of zeros are, and what they reach is left
  out: XLA on CPUs is several times as fast then.
  """
  if kernel == 1:
    return nn.relu(nn.Dense(width, name=name)(x))
  size = (kernel, kernel) if isinstance(kernel, int) else kernel
  if stride == 1:
    return nn.relu(nn.Conv(width, size, name=name)(x))
  step = 1 if stride == 'valid' else stride
  y = nn.relu(nn.Conv(width, size, step, ((0, 1), (0, 1)), name=name)(x))
  h, w = ((n - k) // step + 1 for n, k in zip(x.shape[1:3], size))
  return y[:, :h, :w]


def branch(x, layers, seen=None, prefix=''):
  """x [b h w c] through layers. seen: takes what layers gave, by name."""
  for layer in layers:
    if isinstance(layer, str):
      x = pool(x, layer)
    elif isinstance(layer, list):
      x = jnp.concatenate([branch(x, each, seen, prefix) for each in layer], -1)
    else:
      x = conv(x, prefix + layer[0], *layer[1:])
      if seen is not None:
        seen[prefix + layer[0]] = x
  return x


class Inception(nn.Module):
  """f32[b 299 299 3] in [-1, 1] -> {'pool': f32[b 2048], 'logits', 'spatial'}.

  The logits are without their bias, as the Inception score takes them (ADM,
  torch-fidelity). Spatial are the first seven channels of the graph's mixed_6/conv,
  row by row, channels last, as ADM's evaluator flattens them for sFID.
  """

  @nn.compact
  def __call__(self, x):
    x, seen = branch(x, STEM), {}
    for name, branches in BLOCKS.items():
      x = branch(x, [branches], seen, f'{name}_')  # [b 35 35 .], then 17, then 8
    pooled = x.mean((1, 2))
    spatial = seen['Mixed_6d_branch1x1'][..., :SPATIAL]
    return {'pool': pooled, 'spatial': spatial.reshape(len(x), -1),
            'logits': nn.Dense(OUTPUTS['logits'], use_bias=False, name='fc')(pooled)}


def file_shapes(shapes):
  """What a file has in place of the module's parameters, as shapes.

  Each bias is a normalisation's scale, bias, mean and variance there.
  """
  def of_layer(layer):
    if 'bias' not in layer:
      return layer
    norm = dict.fromkeys(('scale', 'bias', 'mean', 'var'), layer['bias'])
    return {'kernel': layer['kernel'], 'norm': norm}
  return {name: of_layer(layer) for name, layer in shapes.items()}


def fold(params):
  """The module's parameters of a file's, in float64 up to the last step."""
  def of_layer(layer):
    if 'norm' not in layer:
      return layer
    norm = {name: np.float64(value) for name, value in layer['norm'].items()}
    scale = norm['scale'] / np.sqrt(norm['var'] + EPS)
    return {'kernel': np.float32(layer['kernel'] * scale),
            'bias': np.float32(norm['bias'] - norm['mean'] * scale)}
  return {name: of_layer(layer) for name, layer in params.items()}
