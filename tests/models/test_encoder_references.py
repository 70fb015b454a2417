"""Text encoders and the autoencoder compute what reference implementations compute.

tests/fixtures/make_encoders.py made the numbers, and says from what.
"""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import references, seeded
from helpers.references import ENCODERS, INPUTS, KL, TEXTS


def agree(name, outputs, x):
  """Outputs are the reference's; their gradient to x, too, where it is known.

  outputs: (x, params) -> {key of the fixture: array}.
  """
  want = references.case(name, ENCODERS)

  def total(x, params):
    out = outputs(x, params)
    return sum((y * seeded.numbers('weight', y.size).reshape(y.shape)).sum()
               for y in out.values() if y.dtype == jnp.float32), out
  if 'grad' in want:
    (_, got), got_grad = jax.jit(jax.value_and_grad(total, has_aux=True))(
        x, references.weights(references.encoder_shapes(name)))
    got['grad'] = got_grad
  else:
    _, got = jax.jit(total)(x, references.weights(references.encoder_shapes(name)))
  assert got.keys() == want.keys() - set(INPUTS[name])
  for key, value in got.items():
    scale = np.abs(want[key]).max(initial=0)
    np.testing.assert_allclose(value, want[key], rtol=1e-5, atol=1e-5 * scale,
                               err_msg=key)


@pytest.mark.parametrize('name', TEXTS)
def test_texts_are_those_of_the_reference(name):
  tokens = references.case(name, ENCODERS)['tokens']

  def outputs(table, params):
    params = params | {'embed': {'embedding': table}}
    out = TEXTS[name].apply({'params': params}, tokens)
    assert {k for k, v in vars(out).items() if v is not None} == TEXTS[name].gives
    none = np.zeros((len(tokens), 0), np.float32)  # as a text without a summary has
    pooled = none if out.pooled is None else out.pooled
    return {'text': out.text, 'mask': out.mask, 'pooled': pooled}
  weights = references.weights(references.encoder_shapes(name))
  agree(name, outputs, weights['embed']['embedding'])


def test_latents_and_pictures_are_those_of_the_reference():
  want = references.case('kl', ENCODERS)
  assert want['x'].shape[1] == KL.factor * want['latents'].shape[1]

  def outputs(x, params):
    moments = KL.apply({'params': params}, x, method='moments')
    latents = KL.apply({'params': params}, moments, want['eps'], method='draw')
    return {'latents': latents,
            'out': KL.apply({'params': params}, latents, method='decode')}
  agree('kl', outputs, want['x'])
