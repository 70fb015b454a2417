"""What the modules promise: shapes, dtypes, identities, what they may see."""
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest

from configs import base
from helpers.small_models import built
import models
from models import layers, recomputed
from models.backbones import dit, mmdit, unet_blocks
from models.conditions import label

B, SIZE, L = 2, 8, 6
UNET = dict(name='unet', width=8, channel_mult=(1, 2), num_res_blocks=1,
            attention=(0, 1), head_width=4, groups=4, patch=2, positions=True)
TEXT = dict(name='text', width=8, depth=2, heads=2)
X = jax.random.normal(jax.random.key(0), (B, SIZE, SIZE, 3))
T = jnp.array([0.2, 0.7])
TOKENS = jnp.array([[1, 5, 7, 0, 0, 0], [1, 9, 4, 3, 2, 0]])


def net(dtype='float32'):
  return built(UNET | dict(dtype=dtype), TEXT, size=SIZE, length=L)


@pytest.fixture(scope='module')
def trained():
  """Parameters moved off their start, where much is zero."""
  return moved(models.param_shapes(net(), (SIZE, SIZE), L))


def moved(shapes):
  rng = np.random.default_rng(2)
  return jax.tree.map(
      lambda p: jnp.asarray(0.2 * rng.normal(size=p.shape), jnp.float32), shapes)


@jax.jit
def apply(params, x=X, t=T, tokens=TOKENS):
  return net().apply({'params': params}, x, models.Scalars(t), tokens)


def test_a_fresh_network_predicts_zero_of_the_right_shape():
  params = jax.jit(lambda key: models.init_params(net(), key, (SIZE, SIZE), L))(
      jax.random.key(1))
  out = apply(params)
  assert out.shape == X.shape and out.dtype == jnp.float32
  np.testing.assert_array_equal(out, 0)
  assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype('float32')}


def test_every_parameter_has_a_gradient(trained):
  grads = jax.jit(jax.grad(lambda p: jnp.square(apply(p)).sum()))(trained)
  zero = [jax.tree_util.keystr(path) for path, g in
          jax.tree_util.tree_leaves_with_path(grads) if not jnp.abs(g).max() > 0]
  assert not zero


def test_padding_is_not_seen(trained):
  """Ids past a caption's end change nothing, whatever stands in their embedding."""
  other = jax.tree.map(jnp.copy, trained)
  table = other['text_encoder']['embed']['embedding']
  other['text_encoder']['embed']['embedding'] = table.at[0].add(100.0)
  np.testing.assert_allclose(apply(other), apply(trained), atol=1e-5)


def test_pictures_and_captions_of_a_batch_do_not_mix(trained):
  whole = apply(trained)
  for i in range(B):
    alone = apply(trained, X[i:i + 1], T[i:i + 1], TOKENS[i:i + 1])
    np.testing.assert_allclose(alone[0], whole[i], atol=1e-5)


def test_the_caption_and_the_time_matter(trained):
  whole = apply(trained)
  assert jnp.abs(apply(trained, tokens=TOKENS[::-1]) - whole).max() > 1e-3
  assert jnp.abs(apply(trained, t=T[::-1]) - whole).max() > 1e-3
  swapped = TOKENS.at[:, 1:3].set(TOKENS[:, 2:0:-1])  # the order of words too
  assert jnp.abs(apply(trained, tokens=swapped) - whole).max() > 1e-4


def test_bfloat16_stays_near_float32(trained):
  half = jax.jit(net('bfloat16').apply)({'params': trained}, X, models.Scalars(T),
                                        TOKENS)
  whole = apply(trained)
  assert half.dtype == jnp.float32
  assert jnp.abs(half - whole).max() < 0.1 * jnp.abs(whole).max()


def test_what_is_computed_again_changes_nothing():
  def run(remat):
    net = dit.DiT(width=8, depth=2, heads=2, remat=remat)
    args = X[:, :, :, :1].repeat(4, -1), models.Scalars(T), models.Context()
    params = moved(jax.eval_shape(net.init, jax.random.key(0), *args)['params'])
    loss = lambda p: jnp.square(net.apply({'params': p}, *args)).sum()
    made = jax.jit(jax.value_and_grad(loss)).trace(params)
    return made.lower().compile()(params), str(made.jaxpr).count('remat')
  want, attention = run('none')  # whose softmax is computed again in any case
  for policy in sorted(set(recomputed.REMAT) - {'none'}):
    got, some = run(policy)
    assert some > attention
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
                 got, want)


def test_a_program_does_not_grow_with_the_depth():
  def size(depth):
    net = mmdit.MMDiT(width=8, depth=depth, heads=2, dual=depth // 2, remat='dots')
    args = (jnp.zeros((1, 4, 4, 16)), models.Scalars(jnp.zeros(1)), models.Context(
        jnp.zeros((1, L, 5)), jnp.ones((1, L), bool), jnp.zeros((1, 3))))
    params = jax.eval_shape(net.init, jax.random.key(0), *args)
    loss = lambda params: net.apply(params, *args).sum()
    return len(jax.jit(jax.grad(loss)).lower(params).as_text().splitlines())
  assert size(6) == size(12)


def test_dropout_drops_only_where_its_rng_is_given():
  block = unet_blocks.ResBlock(8, 4, 1e-6, True, 0.5, False, jnp.float32)
  x, c = jnp.ones((1, 4, 4, 8)), jnp.ones((1, 3))
  params = moved(jax.eval_shape(block.init, jax.random.key(0), x, c))
  def run(rate, *keys):
    rngs = {'dropout': keys[0]} if keys else None
    return block.copy(dropout=rate).apply(params, x, c, rngs=rngs)
  np.testing.assert_array_equal(run(0.5), run(0.0))
  a, b, again = (run(0.5, jax.random.key(i)) for i in (1, 2, 1))
  assert jnp.abs(a - b).max() > 1e-3 and jnp.abs(a - run(0.0)).max() > 1e-3
  np.testing.assert_array_equal(a, again)


def test_times_are_told_in_the_units_of_their_papers():
  t = jnp.array([0.001, 0.25, 1.0])
  told = {name: row(t) for name, row in layers.TIMES.items()}
  np.testing.assert_allclose(told['index'], [0, 249, 999], atol=1e-4)
  np.testing.assert_allclose(told['steps'], [1, 250, 1000], rtol=1e-6)
  np.testing.assert_allclose(told['edm'], np.log([0.08, 20, 80]) / 4, rtol=1e-5)
  np.testing.assert_allclose(told['data'], [0.999, 0.75, 0])


def test_classes_are_rows_and_no_class_its_own():
  tokens = jnp.array([[1, 4], [1, 0]])  # tokens from 2 on are classes, 0 is none
  got = label.Class(3).apply({}, tokens)
  np.testing.assert_array_equal(got.pooled, [[0, 0, 1, 0], [0, 0, 0, 1]])
  np.testing.assert_array_equal(got.text[:, 0], got.pooled)
  assert got.mask.shape == (2, 1) and got.mask.all()
  got = label.Class(3, null=False).apply({}, tokens)
  np.testing.assert_array_equal(got.pooled, [[0, 0, 1], [0, 0, 0]])  # EDM's is zeros


@pytest.mark.parametrize('encoder', [
    dict(name='text', width=8, depth=1, heads=2), dict(name='class', classes=3),
    dict(name='none')])
@pytest.mark.parametrize('backbone', [
    UNET, dict(name='dit', width=12, heads=3, depth=1),
    dict(name='dit', width=12, heads=3, depth=1, positions='rope',
         qk_norm=True), dict(name='uvit', width=8, heads=2, depth=2),
    dict(name='edm2', width=8, channel_mult=(1, 2), attention=(0, 1), num_res_blocks=1,
         head_width=4)], ids=lambda f: f['name'])
def test_every_backbone_takes_every_condition(backbone, encoder):
  model = built(backbone, encoder, size=SIZE, length=L)
  out, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), X,
                          models.Scalars(T), TOKENS)
  assert out.shape == X.shape


@pytest.mark.parametrize('backbone, encoder, tokens, message', [
    (dict(name='dit'), dict(name='t5'), {}, "reads .'pooled'.: it would not see it"),
    (dict(name='edm2'), dict(name='clip'), {}, 'would not see it'),
    (dict(name='unet', attention_type='self'), dict(name='clip'), {}, 'not see it'),
    (dict(name='unet', attention=(0, 0), mid_attention=0), dict(name='clip'), {},
     'not see it'),
    (dict(name='uvit'), dict(name='class'), {}, "lacks .'classes'., which 'class'"),
    (dict(name='uvit'), dict(name='class', classes=3), dict(length=1),
     'length is 1; a class takes 2'),
    (dict(name='mmdit'), dict(name='t5'), {}, 'which gives no pooled; this'),
    (dict(name='mmdit'), dict(name='none'), {}, 'no pooled and no text; this'),
    (dict(name='dit', cross_attention=True), dict(name='none'), {}, 'gives no text'),
    (dict(name='uvit'), dict(name='clip'), dict(length=99), '99; CLIP takes up to 77'),
    (dict(name='uvit'), dict(name='t5', vocab=9), {}, 'config.condition.vocab is 9; '),
    (dict(name='dit', cross_attention=True, size_embedding=True, width=64, heads=4),
     dict(name='t5'), {}, 'size_embedding: 3 is 3, which does not divide 64')],
    ids=lambda f: str(f)[:40])
def test_a_text_that_could_not_be_read_is_refused(backbone, encoder, tokens, message):
  with pytest.raises(ValueError, match=message):
    built(backbone, encoder, size=16, **dict(vocab=300, length=16) | tokens)


def test_norm_takes_out_mean_and_scale():
  x = 5 + 3 * jax.random.normal(jax.random.key(0), (2, 4, 4, 8))
  tokens, _ = layers.Norm().init_with_output(jax.random.key(0), x)
  np.testing.assert_allclose(tokens.mean(-1), 0, atol=1e-5)
  np.testing.assert_allclose(tokens.std(-1), 1, atol=1e-3)
  groups, _ = layers.Norm(2).init_with_output(jax.random.key(0), x)
  groups = groups.reshape(2, 16, 2, 4)
  np.testing.assert_allclose(groups.mean((1, 3)), 0, atol=1e-5)
  np.testing.assert_allclose(groups.std((1, 3)), 1, atol=1e-3)


def test_time_features_are_sinusoids_of_a_thousand_t():
  """arXiv:1706.03762 section 3.5: rates from 1 down to 1 / 10,000."""
  t = np.array([0.0, 0.3])
  got = layers.sinusoids(1000 * jnp.asarray(t, jnp.float32), 8)
  angles = 1000 * t[:, None] * 10_000.0 ** (-np.arange(4) / 4)
  np.testing.assert_allclose(got, np.concatenate(
      [np.cos(angles), np.sin(angles)], -1), atol=1e-4)


def test_depth_to_space_undoes_space_to_depth():
  deep = layers.space_to_depth(X, 4)
  assert deep.shape == (B, 2, 2, 48)
  np.testing.assert_array_equal(layers.depth_to_space(deep, 4), X)
  np.testing.assert_array_equal(deep[0, 1, 0].reshape(4, 4, 3), X[0, 4:, :4])


def test_upsample_repeats_each_pixel():
  np.testing.assert_array_equal(
      layers.upsample(X), np.asarray(X).repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize('part, change, message', [
    ('model', {'name': 'dit3'}, r"config.model.name is 'dit3', not one of"),
    ('model', {'dtype': 'float8'}, 'config.model.dtype'),
    ('model', {'depth': 3}, r"has \['depth'\]; 'unet' takes only"),
    ('model', {'head_width': 3}, 'config.model.head_width is 3, which does not divide'),
    ('model', {'groups': 3}, 'config.model.groups is 3'),
    ('model', {'attention': (1, 1, 1)}, 'config.model.attention has 3 entries'),
    ('model', {'attention_type': 'self', 'mid_attention': 2},
     'with attention_type=self each is 0 or 1'),
    ('model', {'time_unit': 'x'}, "config.model.time_unit is 'x', not one of"),
    ('model', {'scalars': ('w', 's')}, r"config.model.scalars has \['w'\], not of"),
    ('model', {'augment_labels': 4}, 'config.model.augment_labels is 4, not one of'),
    ('model', {'remat': 'all'}, "config.model.remat is 'all', not one of"),
    ('condition', {'heads': 3}, 'config.condition.heads is 3'),
    ('condition', {'width': 0}, 'config.condition.width is 0'),
    ('condition', {'name': 'x'}, "config.condition.name is 'x', not one of"),
])
def test_a_wrong_config_is_refused_by_name(part, change, message):
  parts = {'model': UNET | {'attention': (0, 0)}, 'condition': TEXT}
  parts[part] = parts[part] | change
  with pytest.raises(ValueError, match=message):
    built(**parts, vocab=300, length=16, size=16)


@pytest.mark.parametrize('autoencoder, latents', [
    (dict(name='none'), 1),
    (dict(name='kl', width=8, channel_mult=(1, 2), num_res_blocks=1, groups=4), 4)])
def test_pictures_of_one_channel(autoencoder, latents):
  """In and out of the autoencoder there is one, and the backbone sees its latents."""
  c = base.get_config()
  c.data.update(dict(size=16, channels=1))
  c.model.update(dict(width=8, channel_mult=(1,), num_res_blocks=1, attention=(0,),
                      head_width=8, groups=4))
  c.autoencoder = ConfigDict(autoencoder)
  module = models.build(c)
  factor = module.autoencoder.factor
  assert module.latent_shape((16, 16)) == (16 // factor, 16 // factor, latents)
  shapes = models.param_shapes(module, (16, 16), c.tokenizer.length)
  assert shapes['backbone']['out']['kernel'].shape[-1] == latents
  x = jax.ShapeDtypeStruct((2, 16, 16, 1), jnp.float32)
  def there(params, x):
    return module.apply({'params': params}, x, method='to_latents')
  def back(params, z):
    return module.apply({'params': params}, z, method='to_pixels')
  z = jax.eval_shape(there, shapes, x)
  assert z.shape == (2, *module.latent_shape((16, 16)))
  assert jax.eval_shape(back, shapes, z).shape == x.shape
