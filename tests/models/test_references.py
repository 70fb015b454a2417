"""Backbones compute what reference implementations compute.

tests/fixtures/make_backbones.py made the numbers, and says from what.
"""
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import models
import seeded

FILE = pathlib.Path(__file__).parent.parent / 'fixtures' / 'backbones.npz'
SMALL = dict(name='unet', width=16, blocks=1, attention=(0, 1), kind='self', groups=4)
SONG = SMALL | dict(mults=(2, 2), attention=(1, 0), heads=1, features='ddpm',
                    time='edm', pooled='before', scale_shift=False, resample='block',
                    song=True)
SD = SMALL | dict(channels=4, attention=(1, 0), kind='spatial', heads=2, eps=1e-5,
                  time='index', pad=(1, 1), pooled='mlp', scale_shift=False)
MMDIT = dict(name='mmdit', channels=4, width=24, depth=3, heads=2, grid=12, place=1 / 3)
CASES = {
    'ddpm': SMALL | dict(heads=1, features='ddpm', time='index', scale_shift=False),
    'adm': SMALL | dict(head_width=8, eps=1e-5, time='index', resample='block', out=6),
    'ddpmpp': SONG,
    'ncsnpp': SONG | dict(features='fourier', noise=32, taps=(1, 3, 3, 1),
                          input_skips=True),
    'sd': SD,
    'sdxl': SD | dict(attention=(0, 2), middle=2, heads=0, head_width=8),
    'edm2': dict(name='edm2', channels=3, width=16, mults=(1, 2), blocks=1,
                 attention=(0, 1), head_width=8),
    'dit': dict(name='dit', out=8, width=24, depth=2, heads=2, time='index'),
    'uvit': dict(name='uvit', width=16, depth=4, heads=2),
    'pixart': dict(name='dit', out=8, width=24, depth=2, heads=2, time='index',
                   shared=True, cross=True, pooled='sizes', place=0.5),
    'microdit': dict(name='microdit', width=32, depth=2, heads=4, place=0.5, multiple=8,
                     experts=4, capacity=1.0, mixer_width=16, mixer_depth=2),
    'sd3': MMDIT,
    'sd3.5': MMDIT | dict(qk_norm=True, dual=1),
}


def case(name, file=FILE):
  with np.load(file) as file:
    return {key.partition('/')[2]: file[key] for key in file
            if key.startswith(name + '/')}


def weights(shapes):
  """Parameters of the numbers of their names."""
  def one(path, leaf):
    name = '/'.join(k.key for k in path)
    return jnp.asarray(seeded.numbers(name, leaf.size).reshape(leaf.shape))
  return jax.tree.map_with_path(one, shapes)


@pytest.mark.parametrize('name', CASES)
def test_output_and_gradient_are_those_of_the_reference(name):
  want = case(name)
  backbone = models.make(models.BACKBONES, CASES[name], 'config.model')
  inputs = [want[k] for k in ('x', 't', 'text', 'mask', 'pooled')]
  params = weights(jax.eval_shape(backbone.init, jax.random.key(0), *inputs)['params'])
  weight = seeded.numbers('weight', want['out'].size).reshape(want['out'].shape)

  def total(x, text, pooled, params):
    out = backbone.apply({'params': params}, x, inputs[1], text, inputs[3], pooled)
    return (out * weight).sum(), out
  (_, out), grads = jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(
      inputs[0], inputs[2], inputs[4], params)
  got = {'out': out} | dict(zip(('grad_x', 'grad_text', 'grad_pooled'), grads))
  checked = [key for key in got if key in want]
  assert {'out', 'grad_x'} <= set(checked)
  for key in checked:
    scale = np.abs(want[key]).max()
    np.testing.assert_allclose(got[key], want[key], rtol=1e-5, atol=1e-5 * scale,
                               err_msg=f'{name} {key}')
