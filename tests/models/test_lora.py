"""Adapters beside their layers, and in them, compute the same; at first nothing."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import papers, seeded
import models
from models import lora
from training import rules

KEY = jax.random.key(0)
MODELS = {  # (paper, name), and regexes for layers of every kind
    ('sd15', ''): ('backbone/.*_attention/.*', 'backbone/.*/(conv_1|skip)',
                   'backbone/(in|down_1)', 'text_encoder/.*/q'),
    ('sd3', '3.5-medium'): ('backbone/(dual_|last)?(blocks/)?.*',),
    ('pixart', '512'): ('backbone/blocks/(self|cross)/(q|out)', 'backbone/in'),
}


@functools.cache
def model(paper, name):
  """(module, config, init of its parameters)."""
  c = papers.config(paper, name, 'reduced')
  module = models.build(c)
  return module, c, functools.partial(
      models.init_params, module, size=(c.data.size,) * 2, length=c.tokenizer.length)


@functools.cache
def case(paper, name):
  """(function of parameters, parameters, layers chosen) of a small model."""
  module, c, init = model(paper, name)
  rng = np.random.default_rng(1)
  latents = (2, *module.latent_shape((c.data.size,) * 2))
  x = jnp.float32(rng.normal(size=latents))
  tokens = jnp.int32(rng.integers(3, 250, (2, c.tokenizer.length)))
  sizes = jnp.ones((2, 6)) * 16
  @jax.jit
  def run(params, scale):
    def apply(*args, method):
      return module.apply({'params': params}, *args, method=method)
    with lora.beside(scale):
      context = apply(tokens, sizes, method='encode')
      return apply(x, models.Scalars(jnp.float32([0.3, 0.8])), context,
                   method='predict')
  params = jax.tree.map_with_path(
      lambda path, leaf: jnp.asarray(seeded.numbers(
          '/'.join(k.key for k in path), leaf.size).reshape(leaf.shape)),
      jax.eval_shape(init, KEY))
  return run, params, lora.chosen(lora.layers_of(init), MODELS[paper, name])


def drawn(params, layers, rank, dora=False):
  """Adapters none of whose kernels is zero."""
  adapters = lora.init_adapters(KEY, params, layers, rank, dora)
  rng = np.random.default_rng(2)
  return jax.tree.map(lambda x: x + jnp.float32(0.2 * rng.normal(size=x.shape)),
                      adapters)


@pytest.mark.parametrize('paper, dora', [
    pytest.param(paper, dora, marks=[pytest.mark.long] * (paper[0] == 'sd3'))
    for paper, dora in zip(MODELS, (False, True, True))])
def test_beside_a_layer_or_in_it_adapters_compute_the_same(paper, dora):
  run, params, layers = case(*paper)
  adapters = drawn(params, layers, 3, dora)
  base = run(params, 0.0)
  beside = run(lora.inserted(params, adapters), 0.7)
  inside = run(lora.merged(params, adapters, 0.7), 0.7)
  assert abs(beside - base).max() > 0.1 * abs(base).max()
  np.testing.assert_allclose(beside, inside, atol=2e-4 * abs(inside).max())


@pytest.mark.parametrize('dora', [False, True])
def test_fresh_adapters_change_no_bit(dora):
  run, params, layers = case('pixart', '512')
  adapters = lora.init_adapters(KEY, params, layers, 4, dora)
  a, b = run(params, 1.0), run(lora.inserted(params, adapters), 1.0)
  # DoRA divides two norms, which XLA may sum up in another order.
  np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 if dora else 0)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6 if dora else 0),
               params, lora.merged(params, adapters, 1.0))


def test_a_merged_kernel_is_the_one_of_the_papers():
  """LoRA eq. 3 and DoRA eq. 5, of a stack of convolutions, in numpy."""
  rng = np.random.default_rng(3)
  w, a, b, gain = (rng.normal(size=size).astype(np.float32) for size in (
      (2, 3, 3, 4, 5), (2, 3, 3, 4, 2), (2, 2, 5), (2, 5)))
  v = w + 0.3 * np.einsum('sijcr,sro->sijco', a, b)
  got = lora.merged({'x': {'kernel': w}}, {'x': {'a': a, 'b': b}}, 0.3)
  np.testing.assert_allclose(got['x']['kernel'], v, atol=1e-5)
  got = lora.merged({'x': {'kernel': w}}, {'x': {'a': a, 'b': b, 'gain': gain}}, 0.3)
  def norm(x):
    return np.sqrt((x**2).sum((1, 2, 3), keepdims=True))
  magnitude = gain[:, None, None, None] * norm(w)
  np.testing.assert_allclose(got['x']['kernel'], magnitude * v / norm(v), atol=1e-5)


def test_dropout_is_of_the_inputs_and_right_on_average():
  """A layer alone: what its adapter sees has holes, and the mean of what it gives is
  what it gives without them."""
  from flax import linen as nn
  x = jnp.ones((1, 40))
  layer = nn.Dense(3)
  params = layer.init(KEY, x)['params']
  adapter = {'a': jnp.ones((40, 1)), 'b': jnp.ones((1, 3))}
  @jax.jit
  @jax.vmap
  def run(key):
    with lora.beside(1.0, 0.25):
      return layer.apply({'params': params | adapter}, x, rngs={'dropout': key})[0]
  more = np.asarray(run(jax.random.split(KEY, 500)) - layer.apply(
      {'params': params}, x)[0])
  np.testing.assert_allclose(more * 0.75, np.round(more * 0.75), atol=1e-4)
  assert len(np.unique(np.round(more * 0.75))) > 5
  # Of 40 ones each is kept with 3/4: the standard error of the mean is 0.16.
  assert abs(more.mean() - 40) < 5 * np.sqrt(40 * (1 / 0.75 - 1) / 500)


def test_what_is_no_layer_is_named():
  layers = lora.layers_of(model('sd15', '')[2])
  with pytest.raises(ValueError, match="'backbone/norm' *, which is the name of no"):
    lora.chosen(layers, ('backbone/norm',))
  with pytest.raises(ValueError, match=r"config.lora.layers has '\(', which is no reg"):
    lora.chosen(layers, ('(',))
  edm2 = lora.layers_of(model('edm2', 'xs')[2])  # whose layers scale their own kernels
  assert not any(name.startswith('backbone/') for name in edm2)


@pytest.mark.parametrize('paper', MODELS)
def test_every_kernel_of_these_models_is_a_layer(paper):
  init = model(*paper)[2]
  names = [name for name in rules.by_name(jax.eval_shape(init, KEY))
           if name.endswith('/kernel')]
  assert {name.removesuffix('/kernel') for name in names} == set(lora.layers_of(init))
