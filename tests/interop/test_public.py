"""Foreign files come out as the parameters with which our modules are held to what the
foreign ones compute (tests/models/test_references.py, test_encoder_references.py)."""
import functools
import json
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as storage

from helpers import references, seeded
from interop import names, weights

FOREIGN = json.loads((references.FIXTURES / 'foreign.json').read_text())


@functools.cache
def shapes(case):
  """The parameters of our module of a case, as shapes."""
  if case not in references.CASES:
    return references.encoder_shapes(case)
  return references.backbone_shapes(case)


def foreign(case):
  """A foreign module's state, of the numbers of our names."""
  family, sizes = FOREIGN[case]
  return seeded.foreign(names.ours(family, sizes), sizes)


def equal(case, path):
  got = weights.load(path, shapes(case))
  jax.tree.map(np.testing.assert_array_equal, got, references.weights(shapes(case)))
  assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {np.dtype('float32')}


@pytest.mark.parametrize('case', FOREIGN)
def test_a_file_gives_the_parameters_of_our_module(case, tmp_path):
  storage.save_file(foreign(case), tmp_path / 'model.safetensors')
  equal(case, tmp_path)


def test_a_whole_checkpoint_gives_its_text_half(tmp_path):
  state = {f'text_model.{name}': array for name, array in foreign('clip_l').items()}
  state['text_model.embeddings.position_ids'] = np.arange(8)[None]
  for name in ('logit_scale', 'text_projection.weight',
               'vision_model.encoder.layers.0.mlp.fc1.bias'):
    state[name] = np.ones(3, np.float32)
  storage.save_file(state, tmp_path / 'model.safetensors')
  equal('clip_l', tmp_path)


def test_parts_in_a_folder_with_a_decoder_and_a_table_twice(tmp_path):
  state = foreign('t5')
  state['encoder.embed_tokens.weight'] = state['shared.weight']
  state['decoder.final_layer_norm.weight'] = np.ones(3, np.float32)
  for i in range(2):
    storage.save_file({name: state[name] for name in sorted(state)[i::2]},
                      tmp_path / f'model-{i}.safetensors')
  equal('t5', tmp_path)
  storage.save_file(state, tmp_path / 'again.safetensors')
  with pytest.raises(ValueError, match='has .* in model-0.safetensors and in another'):
    weights.load(tmp_path, shapes('t5'))


def test_of_two_precisions_the_plain_one_is_read(tmp_path):
  state = foreign('clip_g')
  storage.save_file({k: v.astype(np.float16) for k, v in state.items()},
                    tmp_path / 'model.fp16.safetensors')
  got = weights.load(tmp_path, shapes('clip_g'))
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.float16(b)), got,
               references.weights(shapes('clip_g')))
  storage.save_file(state, tmp_path / 'model.safetensors')
  equal('clip_g', tmp_path)


@pytest.mark.parametrize('dtype', ['bfloat16', 'float8_e4m3fn', 'float8_e5m2'])
def test_numbers_that_numpy_lacks(dtype, tmp_path):
  """Read as they are, and as float32 or bfloat16 of them."""
  kind = jnp.dtype(dtype)
  state = {name: array.astype(kind) for name, array in foreign('clip_g').items()}
  storage.save_file(state, tmp_path / 'model.safetensors')
  for wanted in ('float32', 'bfloat16'):
    got = weights.load(tmp_path, shapes('clip_g'), jnp.dtype(wanted))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(
        a, b.astype(kind).astype(wanted)), got, references.weights(shapes('clip_g')))


def test_a_variant_is_read_where_it_is_asked_for(tmp_path):
  half = {name: array.astype(np.float16) for name, array in foreign('clip_g').items()}
  for i in range(2):  # in parts, as transformers names them
    storage.save_file({name: half[name] for name in sorted(half)[i::2]},
                      tmp_path / f'model.fp16-{i + 1:05}-of-00002.safetensors')
  storage.save_file(foreign('clip_g'), tmp_path / 'model.safetensors')
  equal('clip_g', tmp_path)
  wanted = references.weights(shapes('clip_g'))
  got = weights.load(tmp_path, shapes('clip_g'), variant='fp16')
  halves = jax.tree.map(np.float16, wanted)
  jax.tree.map(np.testing.assert_array_equal, got, halves)
  got = weights.load(tmp_path, shapes('clip_g'), variant='none')  # as diffusers
  jax.tree.map(np.testing.assert_array_equal, got, wanted)


def test_a_lost_part_is_named_and_a_pickle_is_not_read(tmp_path):
  state = foreign('t5')
  (tmp_path / 'model.bin').write_bytes(b'')
  with pytest.raises(ValueError, match='model.bin is a pickle.*interop.convert'):
    weights.load(tmp_path, shapes('t5'))
  names_of = sorted(state)
  index = {name: f'model-{i % 2}.safetensors' for i, name in enumerate(names_of)}
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps(
      {'weight_map': index}))
  storage.save_file({name: state[name] for name in names_of[::2]},
                    tmp_path / 'model-0.safetensors')
  with pytest.raises(ValueError, match='lacks model-1.safetensors, which model.safe'):
    weights.load(tmp_path, shapes('t5'))


def test_one_leaf_at_a_time_lies_on_the_host(tmp_path):
  """Of many blocks of 1 MB: the peak is a leaf in the wanted form, and a block."""
  blocks, width = 24, 512
  state = {f'text_model.encoder.layers.{i}.mlp.fc{j}.weight': np.ones(
      (width, width), np.float32) for i in range(blocks) for j in (1, 2)}
  state |= {'text_model.embeddings.token_embedding.weight': np.ones((8, 4), np.float32)}
  storage.save_file(state, tmp_path / 'model.safetensors')
  leaf = jax.ShapeDtypeStruct((blocks, width, width), np.float32)
  wanted = {'blocks': {'mlp': {'up': {'kernel': leaf}, 'down': {'kernel': leaf}}},
            'embed': {'embedding': jax.ShapeDtypeStruct((8, 4), np.float32)}}
  leaf_bytes = 2 * blocks * width**2
  tracemalloc.start()
  weights.load(tmp_path, wanted, jnp.dtype('bfloat16'), put=lambda shape, read: read(
      (slice(None),) * len(shape)).shape)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert leaf_bytes < peak < leaf_bytes + 6 * width**2 * 4 + 2**20


def test_old_names_and_half_precision(tmp_path):
  """The autoencoder's attention as it was once named, as convolutions, rounded."""
  old = {'to_q': 'query', 'to_k': 'key', 'to_v': 'value', 'to_out.0': 'proj_attn'}
  state = {}
  for name, array in foreign('kl').items():
    for new, before in old.items():
      if new in name:
        name = name.replace(new, before)
        array = array[..., None, None] if array.ndim == 2 else array
    state[name] = array.astype(np.float16)
  storage.save_file(state, tmp_path / 'model.safetensors')
  got = weights.load(tmp_path / 'model.safetensors', shapes('kl'))
  jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.float16(b)), got,
               references.weights(shapes('kl')))


@pytest.mark.parametrize('change, said', [
    (lambda s: s | {'text_model.new.weight': np.ones(2, np.float32)},
     'no place for text_model.new.weight'),
    (lambda s: {k: v for k, v in s.items() if '2.mlp.fc1.b' not in k},
     r'lacks blocks/mlp/up/bias\[2\]\.'),
    (lambda s: {k: v[:, :3] if k.endswith('fc2.weight') else v
                        for k, v in s.items()},
     r'fc2.weight \[16, 3\], which is blocks/mlp/down/kernel \[64, 16\] here'),
    (lambda s: {k: v.T.copy() if k.endswith('fc2.weight') else v
                        for k, v in s.items()}, 'other shapes.*fc2.weight'),
    (lambda s: {'wte.weight': np.ones(2, np.float32)}, r"none of \['clip'.*'wte"),
    (lambda s: foreign('t5'), 'no place for encoder.block.* and .* more'),
])
def test_what_does_not_fit_is_named(change, said, tmp_path):
  storage.save_file(change(foreign('clip_g')), tmp_path / 'model.safetensors')
  with pytest.raises(ValueError, match=said):
    weights.load(tmp_path, shapes('clip_g'))


def test_what_is_no_file_is_refused(tmp_path):
  with pytest.raises(ValueError, match='no safetensors file and no folder with one'):
    weights.load(tmp_path, {})
  storage.save_file(foreign('clip_g'), tmp_path / 'whole.safetensors')
  cut = (tmp_path / 'whole.safetensors').read_bytes()[:-10]
  (tmp_path / 'cut.safetensors').write_bytes(cut)
  with pytest.raises(ValueError, match='cut.safetensors is not a whole safetensors'):
    weights.load(tmp_path / 'cut.safetensors', {})
