"""What a ControlNet is led by in training, and how it starts."""
import os

import jax
import numpy as np
import pytest

from configs.finetune import controlnet
import training
from training import controls, sharding, train_state


def pictures(seed):
  rng = np.random.default_rng(seed)
  return rng.uniform(-1, 1, (2, 16, 24, 3)).astype(np.float32)


def test_edges_are_white_where_brightness_changes():
  """Of a step by 1, Sobel's gradient is 1 on both sides of it, and 0 elsewhere."""
  x = np.full((1, 8, 9, 3), -1, np.float32)
  x[:, :, 5:] = 1
  for turned in (x, x.transpose(0, 2, 1, 3)):
    got = np.asarray(controls.edges()(turned))
    got = got if turned is x else got.transpose(0, 2, 1, 3)
    expected = np.full(x.shape, -1.0)
    expected[:, :, 4:6] = 1
    np.testing.assert_allclose(got, expected, atol=1e-5)
  np.testing.assert_allclose(controls.edges()(x * 0), x * 0 - 1, atol=1e-5)


def test_what_is_taken_of_a_picture_keeps_what_it_says():
  seed = int.from_bytes(os.urandom(4))
  print(seed)
  x = pictures(seed)
  for name, make in controls.CONTROLS.items():
    got = np.asarray(make()(x))
    assert got.shape == x.shape and abs(got).max() <= 1 + 1e-5, name
  grey = np.asarray(controls.grey()(x))
  np.testing.assert_allclose(grey.mean(-1), x.mean(-1), atol=1e-6)
  np.testing.assert_array_equal(grey[..., 0], grey[..., 2])
  coarse = np.asarray(controls.coarse(4)(x))
  np.testing.assert_allclose(coarse.mean((1, 2)), x.mean((1, 2)), atol=1e-5)
  np.testing.assert_array_equal(coarse[:, ::4, ::4], coarse[:, 3::4, 3::4])


def test_a_controlnet_starts_as_a_copy_and_adds_nothing():
  """Its last layers are zero, so that the loss is that of the U-Net alone."""
  c = controlnet.get_config('shapes,reduced').unlock()
  c.data.size, c.train.batch = 16, 2
  built = training.build(c, sharding.make_mesh(1))
  key = jax.random.key(0)
  state = built.create()
  params = train_state.combine(state.params, state.frozen)['backbone']
  own = {name: of for name, of in params.items() if name != 'control'}
  started = built.module.backbone.started(own, params)['control']
  assert {name for name in params['control'] if name not in started} == {
      name for name in params['control'] if name.startswith(('hint', 'zero'))}
  for name, of in started.items():
    jax.tree.map(np.testing.assert_array_equal, of, own[name])
  again = own | {'control': params['control']}  # of a run of its own
  assert built.module.backbone.started(again, params) is again
  rng, shape = np.random.default_rng(0), built.batch_shapes['image'].shape
  batch = {'image': rng.integers(0, 255, shape, np.uint8),
           'tokens': np.ones(built.batch_shapes['tokens'].shape, np.int32),
           'sizes': np.ones((2, 6), np.float32)}
  drawn = built.objective.draw(key, shape, state.loss_ema, 0.0)
  whole = train_state.combine(state.params, state.frozen)
  out = jax.tree.map(lambda p: p + 0.1, own['out'])  # which is zero at first, too
  @jax.jit
  def value(control):
    given = whole | {'backbone': own | {'control': control, 'out': out}}
    terms, _ = built.objective.loss(given, given, batch, drawn)
    return sum(terms.values()).sum()
  plain = value(params['control'])
  other = jax.tree.map(lambda p: p + 0.1, params['control'])
  quiet = {name: params['control'][name] if name.startswith('zero') else of
           for name, of in other.items()}
  np.testing.assert_allclose(value(quiet), plain, rtol=1e-5)
  assert abs(value(other) - plain) > 1e-4


@pytest.mark.parametrize('keys, said', [
    (dict(diffusion=dict(control='none')), "config.diffusion.control is 'none'"),
    (dict(model=dict(name='unet')), "config.diffusion.control is 'edges'; this"),
    (dict(train=dict(sample_every=5)), 'config.train.sample_every is 5'),
    (dict(diffusion=dict(control='none'), model=dict(name='unet', shown='masked')),
     "config.model.shown is 'masked'")])
def test_what_cannot_be_trained_is_named(keys, said):
  c = controlnet.get_config('shapes,reduced').unlock()
  for section, values in keys.items():
    c[section].update(values)
  if c.model.name == 'unet':
    del c.model['hint_widths']
  with pytest.raises(ValueError, match=said):
    training.build(c, sharding.make_mesh(1))
