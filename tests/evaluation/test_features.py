"""Feature networks give what their references give, of the same files.

tests/fixtures/make_features.py made the numbers, and says from what.
"""
import functools
import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as storage

from data.sources import shapes
from evaluation import features
from evaluation.features import loading, lpips, networks, resampling, vit
from examples import shapes_features
from helpers import references, seeded
from models.conditions import clip

SHAPES = json.loads((references.FIXTURES / 'features.json').read_text())
COUNTS = {  # of the reference modules, of what is not ours: batch norms, masks, biases
    'inception': 23_850_960 - 1008, 'dinov2_b': 86_580_480 - 768,
    'dinov2_l': 304_368_640 - 1024, 'clip_l14_336': 304_293_888}
BOTH = {'clip_b32': 151_277_313, 'clip_l14': 427_616_513}  # with text and logit_scale
VISION = dict(width=24, depth=2, heads=2, patch=4, projected=16, size=12)
TEXT = dict(vocab=40, pad=39, width=16, depth=2, heads=2, pooled='projection')


def wanted(name):
  with np.load(references.FIXTURES / 'features.npz') as file:
    return {key.removeprefix(f'{name}/'): file[key] for key in file
            if key.startswith(f'{name}/')}


def write(name, path):
  """The file of a case that its reference read."""
  storage.save_file(seeded.state(SHAPES[name]), path)
  return str(path)


def close(got, want, rtol=1e-5):
  assert np.abs(got - want).max() < rtol * np.abs(want).max()


@functools.cache
def shapes_of(module, size=64):
  return jax.eval_shape(module.init, jax.random.key(0),
                        jnp.zeros((1, size, size, 3)))['params']


def count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('name', [*COUNTS, *BOTH])
def test_as_many_parameters_as_the_reference(name):
  row = networks.FEATURES[name]
  shapes = row.file_shapes(shapes_of(row.module, row.size))
  means = {k: v for k, v in jax.tree_util.tree_leaves_with_path(shapes)
           if k[-1].key in ('mean', 'var')}  # no parameters there
  n = count(shapes) - count(list(means.values()))
  if name in BOTH:
    text = jax.eval_shape(clip.CLIP(**row.text).init, jax.random.key(0),
                          jnp.zeros((1, 77), jnp.int32))['params']
    n += count(text) + 1
  assert n == (COUNTS | BOTH)[name]


@pytest.fixture(scope='module')
def inception(tmp_path_factory):
  path = write('inception', tmp_path_factory.mktemp('w') / 'inception.safetensors')
  nets = {p: features.load('inception', path, p) for p in ('adm', 'pytorch_fid')}
  return nets, jax.jit(nets['adm'].apply)


@pytest.mark.parametrize('preprocessing', ['adm', 'pytorch_fid'])
def test_inception_is_that_of_torch_fidelity_and_pytorch_fid(inception, preprocessing):
  nets, apply = inception
  net, want = nets[preprocessing], wanted('inception')
  x = net.preprocess(seeded.pictures(2, 75, 64, 3))
  assert x.shape == (2, 299, 299, 3)
  got = apply(net.params, x)
  assert {k: v.shape[1] for k, v in got.items()} == net.outputs
  if preprocessing == 'pytorch_fid':
    close(got['pool'], want['pytorch_fid'])
  else:
    for key in net.outputs:
      close(got[key], want[key])


def test_the_hash_is_of_the_values(inception, tmp_path):
  """Not of the file: half precision of what halves hold is the same; a bit is not."""
  net, same = inception[0].values()
  assert net.weights_hash == same.weights_hash
  tree = {'a': {'kernel': np.float32([[1, 2]])}, 'b': np.float32([3])}
  again = {'b': np.float32([3]), 'a': {'kernel': np.float32([[1, 2]])}}
  assert loading.content_hash(tree) == loading.content_hash(again)
  others = [{**tree, 'b': np.nextafter(tree['b'], 4, dtype=np.float32)},
            {**tree, 'c': tree['b']}, {'a': {'kernel': np.float32([[1], [2]])},
                                       'b': tree['b']}]
  hashes = {loading.content_hash(x) for x in [tree, *others]}
  assert len(hashes) == 4 and all(len(h) == 64 for h in hashes)


DINOV2 = vit.DINOv2(width=16, depth=3, heads=2, table=5)


@pytest.mark.parametrize('case, offset', [
    ('same', 0.1), ('resized', 0.0), ('original', 0.1)])
def test_dinov2_is_that_of_transformers_and_the_original(case, offset, tmp_path):
  params = loading.read(write('dinov2', tmp_path / 'model.safetensors'),
                        shapes_of(DINOV2, 70), 'dinov2')
  x = seeded.numbers('dinov2/x', 2 * 70 * 70 * 3).reshape(2, 70, 70, 3)
  x = x if case == 'same' else x[:, :42, :56]
  net = DINOV2.clone(offset=offset)
  got = jax.jit(net.apply)({'params': params}, x)['cls']
  want = wanted('dinov2')
  close(got, want[case])
  assert np.abs(want['resized'] - want['original']).max() > 1e-3  # they do differ


def test_a_batch_may_lie_on_many_devices(small_clip):
  net = features.load('small', str(small_clip))
  x, apply = net.preprocess(seeded.pictures(16, 20, 12, 3)), jax.jit(net.apply)
  want = apply(net.params, x)
  split = jax.NamedSharding(jax.make_mesh((8,), ('data',)), jax.P('data'))
  got = apply(net.params, jax.device_put(x, split))
  for key, value in got.items():
    assert value.sharding.is_equivalent_to(split, value.ndim)
    close(value, want[key])


@pytest.fixture
def small_clip(monkeypatch, tmp_path):
  """A folder of a small CLIP, and a row for it."""
  row = networks.clip(networks.hub('a/b', 'model.safetensors', 1), TEXT, **VISION)
  monkeypatch.setitem(networks.FEATURES, 'small', row)
  write('clip', tmp_path / 'model.safetensors')
  return tmp_path


@pytest.mark.parametrize('act', ['gelu', 'quick_gelu'])
def test_clip_is_that_of_transformers_with_the_activation_of_its_config(
    small_clip, act):
  want = wanted(f'clip/{act}')
  (small_clip / 'config.json').write_text(json.dumps({
      f'{part}_config': dict(hidden_act=act) for part in ('vision', 'text')}))
  for name in ('vocab.json', 'merges.txt'):
    shutil.copy(references.FIXTURES / 'clip' / name, small_clip)
  net = features.load('small', str(small_clip), 'cmmd')
  images = seeded.pictures(2, 12, 12, 3)
  x = net.preprocess(images)
  np.testing.assert_array_equal(x, images)  # as they have that size
  got = jax.jit(net.apply)(net.params, x)
  for key, width in net.outputs.items():
    assert got[key].shape == (2, width)
    close(got[key], want[key])
  text = features.clip_text('small', str(small_clip))
  assert text.width == net.outputs['embedding']
  close(jax.jit(text.apply)(text.params, want['tokens']), want['text'])
  assert math.log(text.scale) == pytest.approx(seeded.state({'logit_scale': []})[
      'logit_scale'], rel=1e-6)


def test_clip_is_that_of_open_clip(small_clip):
  """As of HPSv2.1: other names, attention in one array, projections as matrices."""
  want = wanted('open_clip')
  write('open_clip', small_clip / 'model.safetensors')
  row = networks.FEATURES['small']
  vision, text = row.module.clone(act='gelu'), clip.CLIP(**row.text | dict(act='gelu'))
  params = loading.read(small_clip, shapes_of(vision, 12), 'clip_vision')
  x = (seeded.pictures(2, 12, 12, 3) / np.float32(255) - row.normal[0]) / row.normal[1]
  close(jax.jit(vision.apply)({'params': params}, x)['embedding'], want['embedding'])
  shapes = jax.eval_shape(text.init, jax.random.key(0), want['tokens'])['params']
  params = loading.read(small_clip, shapes, 'clip')
  got = jax.jit(text.apply)({'params': params}, want['tokens']).pooled
  close(got / np.linalg.norm(got, axis=-1, keepdims=True), want['text'])


def test_tokens_of_a_clip_are_77_with_what_was_cut(small_clip):
  for name in ('vocab.json', 'merges.txt'):
    shutil.copy(references.FIXTURES / 'clip' / name, small_clip)
  text = features.clip_text('small', str(small_clip))
  rows, cut = text.tokenize(['a red circle', 'a ' * 100])
  assert rows.shape == (2, 77) and rows.dtype == np.int32
  assert cut.tolist() == [0, 25]


def test_lpips_is_that_of_lpips(tmp_path):
  net = features.load('lpips', write('lpips', tmp_path / 'lpips.safetensors'))
  a, b = net.preprocess(seeded.pictures(2, 33, 47, 3))[:, None]
  want = wanted('lpips')['distance']
  close(jax.jit(lpips.lpips)(net.params, a, b), want)
  both = jax.jit(net.apply)(net.params, np.concatenate([a, b]))['features']
  close(jnp.square(both[:1] - both[1:]).sum(-1), want)
  np.testing.assert_array_equal(jnp.square(both - both).sum(-1), 0)


def test_a_resized_constant_is_that_constant():
  """Rows of a resize sum to 1, and each new pixel sees the old ones nearest to it."""
  rng = np.random.default_rng()
  for _ in range(30):
    size, new = rng.integers(1, 90, 2)
    for a, antialias in ((-0.5, True), (-0.75, False)):
      rows = resampling.bicubic(size, new, a, antialias)
      np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5, err_msg=f'{size} {new}')
    for resize in (resampling.tf1_bilinear, resampling.torch_bilinear):
      ramp = np.float32(np.arange(size))[None, :, None, None]
      out = resize(ramp, new, 3)[0, :, 0, 0]
      assert np.all(np.diff(out) >= 0) and 0 <= out.min() and out.max() <= size - 1


FETCHED = [name for name, row in networks.FEATURES.items() if not row.shipped]


@pytest.mark.parametrize('name', FETCHED)
def test_a_missing_file_is_a_line_that_says_what_to_fetch(name, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(FileNotFoundError) as e:
    features.load(name)
  said, row = str(e.value), networks.FEATURES[name]
  assert '\n' not in said and f'weights/public/{name}' in said
  for file in row.files:
    size = f'{file.megabytes:g} MB' if file.megabytes else 'of unknown size'
    assert file.address in said and size in said
    assert file.sha256 in said and f'--part={file.part}' * bool(file.part) in said
  with pytest.raises(FileNotFoundError, match='elsewhere is missing: fetch'):
    features.load(name, 'elsewhere')


def test_the_network_of_the_repository_knows_the_shapes_world():
  """All objects of 80% of unseen scenes, says examples/shapes_features.py."""
  scenes = shapes.SPLITS['test']
  network = features.load('shapes')
  rng = np.random.default_rng(3)
  some = [scenes[i] for i in rng.integers(len(scenes), size=200)]
  pictures = np.stack([shapes.draw(scene, rng, (64, 64)) for scene in some])
  out = network.apply(network.params, network.preprocess(pictures))
  wanted = [shapes_features.labels(scene) for scene in some]
  objects = np.stack([one['objects'] for one in wanted])
  assert np.mean(np.all((out['objects'] > 0) == objects, 1)) > 0.7
  relation = np.array([one['relation'] for one in wanted])
  assert np.mean(np.argmax(out['relation'], 1) == relation) > 0.85
  assert abs(np.mean(np.square(out['pool'])) - 1) < 0.3
  with pytest.raises(FileNotFoundError, match='elsewhere is missing: it is a file of'):
    features.load('shapes', 'elsewhere')


def test_the_page_has_every_row():
  text = (references.FIXTURES.parents[1] / 'docs' / 'features.md').read_text()
  for name, row in networks.FEATURES.items():
    assert f'`{name}`' in text
    for file in row.files:
      assert f'{file.megabytes:,g}' in text and file.sha256[:8] in text
    for output, width in row.outputs.items():
      assert f'`{output}`' in text and (width is None or f'{width:,}' in text)
    for preprocessing in row.preprocessings:
      assert f'| `{preprocessing}`' in text


def test_mistakes_are_named(small_clip):
  with pytest.raises(ValueError, match=r"'vgg' is not one of .*'clip_b32', .*inc"):
    features.load('vgg')
  with pytest.raises(ValueError, match=r"'clip' is not one of those of inception, "):
    features.load('inception', preprocessing='clip')
  with pytest.raises(ValueError, match='inception has no text encoder; these have'):
    features.clip_text('inception')
  with pytest.raises(ValueError, match='model has no place for logit_scale, text_m'):
    features.load('inception', str(small_clip))
  (small_clip / 'config.json').write_text('{"vision_config": {"hidden_size": 32}}')
  with pytest.raises(ValueError, match='config.json has hidden_size = 32; here .* 24'):
    features.load('small', str(small_clip))
