"""Text encoders and the autoencoder compute what reference implementations compute.

tests/fixtures/make_encoders.py made the numbers, and says from what.
"""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import autoencoder, clip, t5
import seeded
import test_references as references

FILE = references.FILE.with_name('encoders.npz')
CLIP = clip.CLIP(vocab=40, length=8, width=16, depth=3, heads=2)
TEXTS = {
    'clip_l': CLIP.clone(pad=39, pooled='end'),
    'clip_g': CLIP.clone(act='gelu', pad=0, skip=1, pooled='projection'),
    't5': t5.T5(vocab=40, width=12, depth=2, heads=2, head_width=8, hidden=24),
}
KL = autoencoder.KL(width=8, mults=(1, 2), blocks=1, groups=4, scale=1.5305,
                    shift=0.0609)
INPUTS = dict.fromkeys(TEXTS, ('tokens',)) | {'kl': ('x', 'eps')}


def shapes(name):
  """The parameters of a case, as shapes."""
  want = references.case(name, FILE)
  module = TEXTS.get(name, KL)
  return jax.eval_shape(module.init, jax.random.key(0), *(
      want[key] for key in INPUTS[name]))['params']


def agree(name, outputs, x):
  """Outputs are the reference's; their gradient to x, too, where it is known.

  outputs: (x, params) -> {key of the fixture: array}.
  """
  want = references.case(name, FILE)

  def total(x, params):
    out = outputs(x, params)
    return sum((y * seeded.numbers('weight', y.size).reshape(y.shape)).sum()
               for y in out.values() if y.dtype == jnp.float32), out
  if 'grad' in want:
    (_, got), got_grad = jax.jit(jax.value_and_grad(total, has_aux=True))(
        x, references.weights(shapes(name)))
    got['grad'] = got_grad
  else:
    _, got = jax.jit(total)(x, references.weights(shapes(name)))
  assert got.keys() == want.keys() - set(INPUTS[name])
  for key, value in got.items():
    scale = np.abs(want[key]).max(initial=0)
    np.testing.assert_allclose(value, want[key], rtol=1e-5, atol=1e-5 * scale,
                               err_msg=key)


@pytest.mark.parametrize('name', TEXTS)
def test_texts_are_those_of_the_reference(name):
  tokens = references.case(name, FILE)['tokens']

  def outputs(table, params):
    params = params | {'embed': {'embedding': table}}
    out = TEXTS[name].apply({'params': params}, tokens)
    return dict(zip(('text', 'mask', 'pooled'), out))
  agree(name, outputs, references.weights(shapes(name))['embed']['embedding'])


def test_latents_and_pictures_are_those_of_the_reference():
  want = references.case('kl', FILE)
  assert want['x'].shape[1] == KL.factor * want['latents'].shape[1]

  def outputs(x, params):
    latents = KL.apply({'params': params}, x, want['eps'], method='encode')
    return {'latents': latents,
            'out': KL.apply({'params': params}, latents, method='decode')}
  agree('kl', outputs, want['x'])
