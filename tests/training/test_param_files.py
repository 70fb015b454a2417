"""Weights as safetensors: what fits comes back, what does not is refused."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import param_files

PARAMS = {'a': {'kernel': jnp.linspace(-1, 1, 12).reshape(3, 4)}, 'b': jnp.ones(3)}
SHAPES = jax.eval_shape(lambda: PARAMS)


@pytest.mark.parametrize('dtype, error', [
    ('float32', 0), ('float16', 5e-4), ('bfloat16', 4e-3)])
def test_come_back_as_float32(tmp_path, dtype, error):
  path = str(tmp_path / 'w.safetensors')
  param_files.save(path, PARAMS, dtype, {'source': 'a test'})
  got = param_files.load(path, SHAPES)
  assert got['a']['kernel'].dtype == np.float32
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=error), got, PARAMS)


def test_a_part_is_read_alone(tmp_path):
  path = str(tmp_path / 'w.safetensors')
  param_files.save(path, PARAMS | {'ab': {'kernel': jnp.zeros(2)}}, 'float32', {})
  got = param_files.load(path, SHAPES['a'], 'a')
  jax.tree.map(np.testing.assert_array_equal, got, PARAMS['a'])
  with pytest.raises(ValueError, match="the file has no 'kernel'"):
    param_files.load(path, SHAPES['a'], 'c')


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path):
  path = tmp_path / 'w.safetensors'
  param_files.save(str(path), PARAMS, 'float16', {})
  whole = path.read_bytes()
  start = 8 + int.from_bytes(whole[:8], 'little')  # of the numbers
  seed = int(np.random.default_rng().integers(2**31))
  rng = np.random.default_rng(seed)
  for at in rng.integers(start, len(whole), 8):
    raw = bytearray(whole)
    raw[at] ^= 1 << rng.integers(8)
    path.write_bytes(raw)
    with pytest.raises(ValueError, match='is damaged: the bits of'):
      param_files.load(str(path), SHAPES)
      pytest.fail(f'seed {seed}')


def test_what_is_optional_may_be_missing(tmp_path):
  path = str(tmp_path / 'w.safetensors')
  param_files.save(path, {'b': PARAMS['b']}, 'float32', {})
  got = param_files.load(path, SHAPES, optional='a/.*')
  assert got['a']['kernel'] is None
  np.testing.assert_array_equal(got['b'], PARAMS['b'])
  with pytest.raises(ValueError, match="the file has no 'a/kernel'"):
    param_files.load(path, SHAPES, optional='b')


def test_what_does_not_fit_is_refused(tmp_path):
  path = tmp_path / 'w.safetensors'
  param_files.save(str(path), PARAMS, 'float16', {})
  for wanted, message in (
      (SHAPES | {'c': SHAPES['b']}, "the file has no 'c'"),
      ({'b': SHAPES['b']}, "the model has no 'a/kernel'"),
      (SHAPES | {'b': jax.ShapeDtypeStruct((4,), jnp.float32)}, "'b' is")):
    with pytest.raises(ValueError, match=message):
      param_files.load(str(path), wanted)
  path.write_bytes(path.read_bytes()[:-7])
  with pytest.raises(ValueError, match='not a whole safetensors file'):
    param_files.load(str(path), SHAPES)
