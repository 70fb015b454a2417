"""What backbones are told: scalars beside the time, sizes, changes; pictures of any
height and width."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.small_models import built
import models
from models import layers
from models.backbones import dit, unet

T = jnp.array([0.2, 0.7])
TEXT = dict(name='text', width=8, depth=1, heads=2)
TOKENS = jnp.array([[1, 5, 7, 0, 0, 0], [1, 9, 4, 3, 2, 0]])
SIZES = jnp.array([[64, 48, 1, 2, 32, 24], [40, 50, 0, 0, 24, 32]], jnp.float32)
BACKBONES = {
    'unet': dict(width=8, channel_mult=(1, 2), num_res_blocks=1, attention=(0, 1),
                 head_width=4, groups=4, patch=2),
    'dit': dict(width=12, heads=3, depth=3, positions='rope'),
    'uvit': dict(width=8, heads=2, depth=2),
    'mmdit': dict(width=8, heads=2, depth=3, dual=1, pos_embed_max_size=8),
    'edm2': dict(width=8, channel_mult=(1, 2), attention=(0, 1), num_res_blocks=1,
                 head_width=4),
    'microdit': dict(width=16, depth=2, heads=4, multiple=8, experts=4, capacity=4.0,
                     mixer_width=8, mixer_depth=1),
}


def pictures(h, w):
  return jax.random.normal(jax.random.key(h), (2, h, w, 3))


def model(name, size=8, **fields):
  condition = TEXT if name != 'edm2' else dict(name='class', classes=10)
  return built(dict(name=name, **BACKBONES[name], **fields), condition, size=size)


def moved(net, size=(8, 8)):
  """Parameters moved off their start, where much is zero."""
  rng = np.random.default_rng(2)
  return jax.tree.map(
      lambda p: jnp.asarray(0.2 * rng.normal(size=p.shape), jnp.float32),
      models.param_shapes(net, size, TOKENS.shape[1]))


def run(net, params, x, scalars, sizes=None):
  return jax.jit(lambda params, *args: net.apply({'params': params}, *args))(
      params, x, scalars, TOKENS, sizes)


@pytest.mark.parametrize('name', BACKBONES)
def test_a_network_that_is_told_more_starts_as_one_that_is_told_the_time(name):
  plain, told = model(name), model(name, scalars=('s', 'guidance'))
  params, more = moved(plain), moved(told)
  assert told.scalars == ('s', 'guidance') and plain.scalars == ()
  added = more['backbone'].keys() - params['backbone'].keys()
  assert added == {'s', 'guidance'}
  fresh = jax.jit(lambda key: models.init_params(told, key, (8, 8), 6))(
      jax.random.key(0))['backbone']
  scalars = models.Scalars(T, jnp.array([0.0, 0.5]), jnp.array([3.0, 7.0]))
  x = pictures(8, 8)
  before = run(plain, params, x, models.Scalars(T))
  def with_scalars(source):
    return params | {'backbone': params['backbone'] | {k: source[k] for k in added}}
  np.testing.assert_array_equal(run(told, with_scalars(fresh), x, scalars), before)
  params = with_scalars(more['backbone'])
  after = run(told, params, x, scalars)
  for field, value in (('s', T), ('guidance', jnp.array([7.0, 3.0]))):
    other = run(told, params, x, scalars._replace(**{field: value}))
    assert jnp.abs(other - after).min(0).max() > 1e-4


def test_scalars_that_are_missing_or_unknown_are_refused():
  net = model('dit', scalars=('s',))
  with pytest.raises(ValueError, match='DiT is to be told scalars.s; got None'):
    run(net, moved(net), pictures(8, 8), models.Scalars(T))
  with pytest.raises(ValueError, match=r"config.model.scalars has \['w'\], not of "
                                       r"\['guidance', 's'\]"):
    model('dit', scalars=('w',))


@pytest.mark.parametrize('name', BACKBONES)
def test_pictures_need_not_be_square(name):
  """Also where they were square in training, but for tables of places."""
  net = model(name, (8, 12))
  params, x = moved(net, (8, 12)), pictures(8, 12)
  assert net.latent_shape((8, 12)) == (8, 12, 3)
  out = run(net, params, x, models.Scalars(T))
  assert out.shape == x.shape and jnp.abs(out).max() > 1e-3
  assert net.any_size == (name != 'uvit')
  if net.any_size:
    jax.tree.map(np.testing.assert_array_equal, moved(model(name)), params)
  # The right part of a picture counts, and counts for what is at the right.
  changed = run(net, params, x.at[:, :, 8:].add(3.0), models.Scalars(T))
  assert jnp.abs(changed - out)[:, :, 8:].max() > 1e-3
  with pytest.raises(ValueError, match='gives 8 x 13 pixels; height and width must be'):
    net.check((8, 13))


@pytest.mark.parametrize('name', ['unet', 'edm2'])
def test_a_convolutional_network_sees_rows_as_columns(name):
  """With kernels turned as the picture is, the prediction is turned."""
  net = model(name)
  params, x = moved(net), pictures(8, 12)
  def turned(p):
    return p.swapaxes(0, 1) if p.ndim == 4 and p.shape[0] == p.shape[1] == 3 else p
  if name == 'unet':  # its first and last layers see 2 x 2 pixels as channels
    net = built(dict(name='unet', **BACKBONES['unet'] | dict(patch=1)), TEXT)
    params = moved(net)
  want = run(net, params, x, models.Scalars(T)).swapaxes(1, 2)
  got = run(net, jax.tree.map(turned, params), x.swapaxes(1, 2), models.Scalars(T))
  np.testing.assert_allclose(got, want, atol=1e-4)


def test_positions_of_a_rectangle_are_those_of_the_square_around_it():
  square = layers.positions(5, 5, 8, step=0.5).reshape(5, 5, 8)
  wide = layers.positions(3, 5, 8, step=0.5).reshape(3, 5, 8)
  np.testing.assert_array_equal(wide, square[:3])
  y = jax.random.normal(jax.random.key(0), (1, 5, 5, 1, 8))
  rotated = layers.rotary(5, 5, 8)(y.reshape(1, 25, 1, 8)).reshape(y.shape)
  np.testing.assert_array_equal(
      layers.rotary(5, 3, 8)(y[:, :, :3].reshape(1, 15, 1, 8)).reshape(1, 5, 3, 1, 8),
      rotated[:, :, :3])


def apply(net, params, context, x=None):
  return jax.jit(net.apply)({'params': params}, pictures(8, 8) if x is None else x,
                            models.Scalars(T), context)


def small(net, context):
  """Parameters of a backbone, moved off their start."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(net.init, jax.random.key(0), pictures(8, 8),
                          models.Scalars(T), context)['params']
  return jax.tree.map(
      lambda p: jnp.asarray(0.2 * rng.normal(size=p.shape), jnp.float32), shapes)


UNET = dict(width=8, channel_mult=(1,), attention=(0,), mid_attention=0, groups=4,
            num_res_blocks=1, head_width=4)


def test_a_unet_is_told_sizes_as_sinusoids_behind_the_summary():
  """SDXL's, arXiv:2307.01952: as if they were part of the summary."""
  pooled = jax.random.normal(jax.random.key(1), (2, 5))
  net = unet.UNet(**UNET, pooled_into='mlp', size_features=8)
  assert net.reads == {'pooled', 'sizes'} and net.needs == {'sizes'}
  told = models.Context(pooled=pooled, sizes=SIZES)
  params = small(net, told)
  waves = np.asarray(SIZES)[..., None] * 10_000.0 ** -(np.arange(4) / 4)
  waves = np.concatenate([np.cos(waves), np.sin(waves)], -1).reshape(2, -1)
  by_hand = models.Context(pooled=jnp.concatenate([pooled, waves], -1))
  want = apply(net.clone(size_features=0), params, by_hand)
  np.testing.assert_allclose(apply(net, params, told), want, atol=1e-5)
  other = told.replace(sizes=SIZES.at[:, 2].add(5.0))
  assert jnp.abs(apply(net, params, other) - want).max() > 1e-4
  with pytest.raises(ValueError, match='UNet is to be told context.sizes; got None'):
    apply(net, params, told.replace(sizes=None))


def test_pixart_is_told_the_target_height_width_and_their_ratio():
  net = dit.DiT(channels=3, width=12, depth=1, heads=3, size_embedding=True)
  assert net.needs == {'sizes'} and net.reads == {'sizes', 'pooled'}
  np.testing.assert_allclose(net.size_numbers(SIZES),
                             [[32, 24, 4 / 3], [24, 32, 3 / 4]], rtol=1e-6)
  context = models.Context(sizes=SIZES)
  params = small(net, context)
  assert params.keys() >= {'size', 'ratio'}
  out = apply(net, params, context)
  same = context.replace(sizes=SIZES.at[:, :4].add(9.0))  # not of the target
  np.testing.assert_array_equal(apply(net, params, same), out)
  other = context.replace(sizes=SIZES.at[:, 4].add(9.0))
  assert jnp.abs(apply(net, params, other) - out).max() > 1e-4
  with pytest.raises(ValueError, match='DiT is to be told context.sizes; got None'):
    apply(net, params, models.Context())


def test_a_picture_of_which_nothing_is_said_was_not_changed():
  net = unet.UNet(**UNET, augment_labels=9)
  assert net.reads == {'pooled', 'augment'} and not net.needs
  params = small(net, models.Context())
  out = apply(net, params, models.Context())
  zeros = jnp.zeros((2, 9))
  np.testing.assert_array_equal(apply(net, params, models.Context(augment=zeros)), out)
  changed = models.Context(augment=zeros.at[:, 3].set(1.0))
  assert jnp.abs(apply(net, params, changed) - out).max() > 1e-4


def test_sizes_go_from_the_batch_into_the_context():
  net = model('unet')
  encode = lambda *args: net.apply({'params': moved(net)}, *args, method='encode')
  assert encode(TOKENS).sizes is None
  np.testing.assert_array_equal(encode(TOKENS, SIZES).sizes, SIZES)


def test_moments_and_a_draw_make_latents():
  kl = dict(name='kl', width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4)
  net = built(dict(name='dit', width=12, heads=3, depth=1), TEXT, kl, size=(8, 12))
  params, x = moved(net, (8, 12)), pictures(8, 12)
  assert net.latent_shape((8, 12)) == (4, 6, 4)
  def call(method, *args):
    return jax.jit(lambda params, *args: net.apply(
        {'params': params}, *args, method=method))(params, *args)
  moments, eps = call('moments', x), jax.random.normal(jax.random.key(3), (2, 4, 6, 4))
  assert moments.shape == (2, 4, 6, 8) and moments.dtype == jnp.float32
  for given in ((), (eps,)):
    np.testing.assert_allclose(call('draw_latents', moments, *given),
                               call('to_latents', x, *given), atol=1e-5)
  assert jnp.abs(call('to_latents', x, eps) - call('to_latents', x)).max() > 1e-3
  assert call('to_pixels', call('to_latents', x)).shape == x.shape
