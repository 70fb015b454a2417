"""ControlNets: drawn with as in diffusers (make_controlnets.py), and what they add."""
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as storage

from helpers import pipelines, seeded
import inference
from inference import controlnets, generation
from inference.requests import build_request
from interop import names
from models import Scalars

HERE = pathlib.Path(__file__).parent.parent / 'fixtures' / 'controlnets'
DRAWN, NOISE = np.load(HERE / 'drawn.npz'), np.load(pipelines.MADE / 'drawn.npz')
PARTS = json.loads((HERE / 'parts.json').read_text())
PROMPTS, STEPS, GUIDANCE = ['a red circle', 'blue'], 4, 3.0  # of the fixture
CONTROL = seeded.pictures(2, 16, 16, 3).astype(np.float32) / 127.5 - 1


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """{name: (a model, the folder of its ControlNet)}."""
  root, found = tmp_path_factory.mktemp('control'), {}
  for name, shapes in PARTS.items():
    folder = root / f'control_{name}'
    folder.mkdir()
    (folder / 'config.json').write_text((HERE / name / 'config.json').read_text())
    storage.save_file(seeded.foreign(names.ours('controlnet', shapes), shapes),
                      folder / 'diffusion_pytorch_model.safetensors')
    found[name] = inference.load(str(pipelines.with_weights(name, root))), folder
  return found


def drawn(model, name, control=CONTROL):
  c = generation.with_settings(model.config, dict(steps=STEPS, guidance=GUIDANCE))
  request = build_request(model.tokenizer, PROMPTS, c.tokenizer.length, model.size)
  request = request.replace(noise=NOISE[f'{name}/noise'], control=control)
  return generation.sample_request(model.replace(config=c), request, np.zeros(2, int),
                                   seed=0).astype(int)


@pytest.mark.parametrize('name, key, scale', [
    ('sdxl', 'full', ''), ('sd15', 'scaled', ':0.7')])
def test_draws_what_diffusers_draws_with_it(made, name, key, scale):
  model, folder = made[name]
  got = drawn(controlnets.add_controlnet(model, f'{folder}{scale}'), name)
  expected = np.round(255 * DRAWN[f'{name}/{key}']).astype(int)
  without = np.round(255 * NOISE[f'{name}/pictures']).astype(int)
  assert abs(got - expected).max() <= 1 and abs(expected - without).max() > 20


def test_one_whose_last_layers_are_zero_is_the_model_itself(made):
  """And their gradient is not zero: it learns from the first step."""
  model, folder = made['sd15']
  led = controlnets.add_controlnet(model, str(folder))
  control = dict(led.params['backbone']['control'])
  for name in control:
    if name.startswith('zero_'):
      control[name] = jax.tree.map(jnp.zeros_like, control[name])
  x = jnp.asarray(NOISE['sd15/noise'])
  tokens = jnp.ones((2, 77), jnp.int32)
  context = model.module.apply({'params': model.params}, tokens, method='encode')
  def predict(module, backbone, control=None):
    return module.apply({'params': led.params | {'backbone': backbone}}, x,
                        Scalars(jnp.full(2, 0.5)), context.replace(control=control),
                        method='predict')
  def loss(control):
    out = predict(led.module, led.params['backbone'] | {'control': control},
                  jnp.asarray(CONTROL))
    return (out * x).mean(), out
  grads, out = jax.jit(jax.grad(loss, has_aux=True))(control)
  plain = jax.jit(lambda backbone: predict(model.module, backbone))(
      model.params['backbone'])
  np.testing.assert_allclose(out, plain, atol=1e-5)
  for name in grads:  # of the others it is zero at first: they are seen through zeros
    moves = bool(abs(jax.tree.leaves(grads[name])[0]).max() > 0)
    assert moves == name.startswith('zero_'), name


def change(folder, out, **fields):
  out.mkdir()
  config = json.loads((folder / 'config.json').read_text()) | fields
  (out / 'config.json').write_text(json.dumps(config))
  return str(out)


@pytest.mark.parametrize('fields, said', [
    (dict(attention_head_dim=4), 'for another U-Net: config.model.heads is 2, there'),
    (dict(global_pool_conditions=True), 'global_pool_conditions = True'),
    (dict(conditioning_embedding_out_channels=[8, 8, 8]), 'halve a picture down to 2'),
    (dict(unheard=1), 'unheard = 1'), (dict(_class_name='T2IAdapter'), 'T2IAdapter')])
def test_another_network_is_refused_by_field(made, tmp_path, fields, said):
  model, folder = made['sd15']
  with pytest.raises(ValueError, match=said):
    controlnets.add_controlnet(model, change(folder, tmp_path / 'other', **fields))


def test_a_picture_of_control_goes_with_a_network_that_sees_it(made):
  model, folder = made['sd15']
  with pytest.raises(ValueError, match='which this model has not'):
    drawn(model, 'sd15')
  with pytest.raises(ValueError, match='takes a picture'):
    drawn(controlnets.add_controlnet(model, str(folder)), 'sd15', control=None)
