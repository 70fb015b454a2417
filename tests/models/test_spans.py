"""Blocks run as scans: spans of them one after another, and outputs of chosen ones."""
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import Context, Scalars, layers, recomputed
from models.backbones import dit, microdit, mmdit, unet, uvit

B, L, D = 2, 5, 8
T = jnp.array([0.2, 0.7])
X = jax.random.normal(jax.random.key(0), (B, 4, 6, 4))
CONTEXT = Context(*(jax.random.normal(jax.random.key(i), s)
                    for i, s in ((1, (B, L, 6)), (2, (B, L)), (3, (B, 7)))))
CONTEXT = CONTEXT.replace(mask=jnp.arange(L)[None] < jnp.array([[3], [5]]))
NETS = {
    'dit': dit.DiT(width=12, heads=3, depth=3, cross_attention=True),
    'uvit': uvit.UViT(width=D, heads=2, depth=4),
    'mmdit': mmdit.MMDiT(channels=4, width=D, heads=2, depth=4, dual=1,
                         pos_embed_max_size=8),
    'microdit': microdit.MicroDiT(width=16, depth=3, heads=4, multiple=8, experts=2,
                                  capacity=1.0, mixer_width=8, mixer_depth=1),
}


def moved(shapes):
  rng = np.random.default_rng(2)
  return jax.tree.map(
      lambda p: jnp.asarray(0.2 * rng.normal(size=p.shape), jnp.float32), shapes)


class Block(nn.Module):
  """Two streams, of which the first reads the second."""
  scale: float

  @nn.compact
  def __call__(self, streams, c):
    x, y = streams
    x = x + self.scale * jnp.tanh(nn.Dense(D, name='dense')(x + y)) * c
    return x, y + 1


class Stack(nn.Module):
  depths: tuple[int, int] = (2, 3)
  remat: str = 'none'

  @nn.compact
  def __call__(self, x, c, taps=()):
    spans = [(Block(1.0 + i, name=f'span_{i}'), depth)
             for i, depth in enumerate(self.depths)]
    return layers.repeat(spans, self.remat, (x, jnp.zeros_like(x)), c, taps=taps)


def by_hand(params, x, c, depths):
  """The streams after each block."""
  streams, outputs = (x, jnp.zeros_like(x)), []
  for i, depth in enumerate(depths):
    for block in range(depth):
      one = jax.tree.map(lambda p: p[block], params[f'span_{i}'])
      streams = Block(1.0 + i).apply({'params': one}, streams, c)
      outputs.append(streams)
  return outputs


@pytest.mark.parametrize('remat', recomputed.REMAT)
@pytest.mark.parametrize('depths', [(2, 3), (0, 3), (1, 0)])
def test_spans_are_their_blocks_one_after_another(depths, remat):
  x, c = (jax.random.normal(jax.random.key(i), (B, 3, D)) for i in (1, 2))
  net, n = Stack(depths, remat), sum(depths)
  params = moved(jax.eval_shape(net.init, jax.random.key(0), x, c)['params'])
  assert {name: p['dense']['kernel'].shape[0] for name, p in params.items()} == {
      f'span_{i}': depth for i, depth in enumerate(depths) if depth}
  want = by_hand(params, x, c, depths)

  def total(params, taps):
    out, tapped = net.apply({'params': params}, x, c, taps)
    squares = [jnp.square(y).sum() for y, _ in (out, *tapped.values())]
    return sum(squares), (out, tapped)
  def total_by_hand(params, taps):
    out = by_hand(params, x, c, depths)
    return jnp.square(out[-1][0]).sum() + sum(jnp.square(out[i][0]).sum() for i in taps)
  for taps in ((), (0,), tuple(range(n))):
    (_, (out, tapped)), grads = jax.jit(jax.value_and_grad(
        lambda p: total(p, taps), has_aux=True))(params)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, out, want[-1])
    assert sorted(tapped) == sorted(taps)
    for i in taps:
      jax.tree.map(close, tapped[i], want[i])
    jax.tree.map(close, grads, jax.jit(jax.grad(
        lambda p: total_by_hand(p, taps)))(params))


@pytest.mark.parametrize('name', NETS)
def test_taps_are_the_tokens_after_blocks_and_change_nothing(name):
  net = NETS[name]
  params = moved(jax.eval_shape(net.init, jax.random.key(0), X, Scalars(T), CONTEXT))
  def run(params, taps):
    return jax.jit(lambda p: net.apply(p, X, Scalars(T), CONTEXT, taps))(params)
  want = run(params, ())
  taps = tuple(range(net.depth + (name == 'uvit')))  # with one in the middle
  out, tapped = run(params, taps)
  np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-5)
  assert tuple(sorted(tapped)) == taps
  assert {y.shape for y in tapped.values()} == {(B, 6, net.width)}
  alone = run(params, taps[1:2])[1]
  assert alone.keys() == {1}
  np.testing.assert_allclose(alone[1], tapped[1], rtol=1e-5, atol=1e-5)
  for a, b in zip(taps, taps[1:]):
    assert jnp.abs(tapped[a] - tapped[b]).max() > 1e-3


def test_the_blocks_of_a_dit_give_what_its_taps_say():
  """Each block of its own parameters, from the tap before it."""
  net = NETS['dit'].clone(cross_attention=False)
  context = CONTEXT.replace(text=None, mask=None)
  params = moved(jax.eval_shape(net.init, jax.random.key(0), X, Scalars(T), context))
  (_, tapped), seen = jax.jit(lambda p: net.apply(
      p, X, Scalars(T), context, (0, 1, 2), mutable=['intermediates'],
      capture_intermediates=lambda m, _: m.name in ('time', 'pooled')))(params)
  c = sum(seen['intermediates'][k]['__call__'][0] for k in ('time', 'pooled'))
  block = dit.Block(3, False, False, False, jnp.float32)
  for i in (1, 2):
    one = jax.tree.map(lambda p: p[i], params['params']['blocks'])
    got = block.apply({'params': one}, tapped[i - 1], c, None, None, lambda y: y)
    np.testing.assert_allclose(got, tapped[i], rtol=1e-4, atol=1e-4)


def test_a_program_without_taps_has_nothing_of_them():
  """A scan that carries x alone; with taps it carries each of them beside it."""
  def carried(taps):
    net = NETS['dit']
    params = jax.eval_shape(net.init, jax.random.key(0), X, Scalars(T), CONTEXT)
    made = jax.make_jaxpr(lambda p: net.apply(p, X, Scalars(T), CONTEXT, taps))(params)
    return [eqn.params['num_carry'] for eqn in made.eqns
            if eqn.primitive.name == 'scan']
  assert carried(()) == [1]
  assert carried((0, 2)) == [3]


@pytest.mark.parametrize('net, taps, message', [
    (NETS['dit'], (3,), r'taps are \(3,\), but DiT has 3 blocks to tap; there is no 3'),
    (NETS['mmdit'], (-1,), 'MMDiT has 4 blocks to tap; there is no -1'),
    (NETS['uvit'], (0, 5), 'UViT has 5 blocks'),
    (unet.UNet(width=8, groups=4, head_width=4), (0,), 'UNet has 0 blocks to tap')],
    ids=lambda f: str(f)[:20])
def test_taps_that_are_no_blocks_are_refused(net, taps, message):
  with pytest.raises(ValueError, match=message):
    net.apply({}, X, Scalars(T), CONTEXT, taps)
