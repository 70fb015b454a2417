"""Backbones compute what reference implementations compute.

tests/fixtures/make_backbones.py made the numbers, and says from what.
"""
import jax
import numpy as np
import pytest

from helpers import seeded
from helpers.references import CASES, case, inputs, module, weights


@pytest.mark.parametrize('name', CASES)
def test_output_and_gradient_are_those_of_the_reference(name):
  want = case(name)
  backbone, (x, scalars, given) = module(name), inputs(name, want)
  params = weights(jax.eval_shape(backbone.init, jax.random.key(0), x, scalars, given)[
      'params'])
  weight = seeded.numbers('weight', want['out'].size).reshape(want['out'].shape)

  def total(x, told, params):
    out = backbone.apply({'params': params}, x, scalars, given.replace(**told))
    return (out * weight).sum(), out
  told = {k: getattr(given, k) for k in ('text', 'pooled', 'sizes')}
  (_, out), (grad_x, grads) = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))(
      x, told, params)
  got = {'out': out, 'grad_x': grad_x, 'grad_text': grads['text'],
         'grad_pooled': grads['sizes'] if name == 'pixart' else grads['pooled']}
  checked = [key for key in got if key in want]
  assert {'out', 'grad_x'} <= set(checked)
  for key in checked:
    scale = np.abs(want[key]).max()
    np.testing.assert_allclose(got[key], want[key], rtol=1e-5, atol=1e-5 * scale,
                               err_msg=f'{name} {key}')
