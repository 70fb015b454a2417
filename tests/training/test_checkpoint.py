"""What is saved comes back bit for bit, or not at all."""
import itertools
import json

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import checkpoint, sharding, train_state


def some_state(step, scale=1.0):
  params = {'w': scale * jnp.arange(64.0).reshape(8, 8), 'b': jnp.ones(3, jnp.bfloat16)}
  ema = jax.tree.map(lambda p: 2 * p, params),
  moments = jnp.float32(5), jax.tree.map(jnp.square, params)
  return train_state.TrainState(jnp.int32(step), params, ema, moments,
                           jnp.ones(4), jnp.zeros(2, jnp.int32))


def numbers():
  return iter(grain.MapDataset.range(1000).to_iter_dataset())


def shapes(state, mesh):
  whole = sharding.replicated(mesh)
  placed = {'w': jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data')),
            'b': whole}
  def shape(x, sharding):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
  out = jax.tree.map(lambda x: shape(x, whole), state)
  return out.replace(params=jax.tree.map(shape, state.params, placed))


def test_what_is_frozen_is_saved_once_beside_all_averages(tmp_path):
  """Two averages of a network whose frozen part is most of it."""
  state, frozen = some_state(2), {'w': True, 'b': False}
  state = state.replace(params={'w': jnp.zeros((512, 512)), 'b': jnp.ones(3)})
  params, kept = train_state.partition(state.params, frozen)
  ema = tuple(jax.tree.map(lambda p, k=k: k * p, params) for k in (2, 3))
  state = state.replace(params=params, ema=ema, frozen=kept)
  held, data = checkpoint.Checkpoints(str(tmp_path), keep=2), numbers()
  kept['w'] = jax.random.normal(jax.random.key(0), (512, 512))  # not compressible
  held.save(2, state, data)
  held.close()
  size = sum(p.stat().st_size for p in tmp_path.rglob('*') if p.is_file())
  assert size < 1.5 * kept['w'].nbytes
  whole = sharding.replicated(sharding.make_mesh(1))
  def shapes(tree):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), tree)
  got = checkpoint.Checkpoints(str(tmp_path), keep=2).restore(shapes(state), numbers())
  assert jax.tree.structure(got) == jax.tree.structure(state)
  jax.tree.map(np.testing.assert_array_equal, got, state)
  step, averages = checkpoint.Checkpoints(str(tmp_path)).restore_ema(shapes(state))
  assert step == 2 and len(averages) == 2
  for average, expected in zip(averages, ema):
    np.testing.assert_array_equal(average['w'], kept['w'])
    np.testing.assert_array_equal(average['b'], expected['b'])


@pytest.fixture
def saved(tmp_path):
  """A workdir with steps 2 and 4, and the place in the data at each."""
  held, data = checkpoint.Checkpoints(str(tmp_path), keep=2), numbers()
  for step in (1, 2, 3, 4):
    next(data)
    if step % 2 == 0:
      held.save(step, some_state(step, step), data)
  held.close()
  return tmp_path


def restore(workdir, devices=1, said=None):
  data = numbers()
  say = [].append if said is None else said.append
  state = some_state(0)
  held = checkpoint.Checkpoints(str(workdir), keep=2, say=say)
  got = held.restore(shapes(state, sharding.make_mesh(devices)), data)
  return got, data


@pytest.mark.parametrize('devices', [1, 8])
def test_comes_back_bit_for_bit_on_any_devices(saved, devices):
  got, data = restore(saved, devices)
  jax.tree.map(np.testing.assert_array_equal, got, some_state(4, 4))
  assert got.params['w'].addressable_shards[0].data.size == 64 // devices
  assert next(data) == 4


def payloads(step_folder, item):
  """The files that hold the numbers of an item, largest first."""
  files = [p for p in (step_folder / item).rglob('d/*') if p.is_file()]
  return sorted(files, key=lambda p: -p.stat().st_size)


@pytest.mark.parametrize('damage', ['flip', 'cut', 'gone', 'empty'])
def test_a_damaged_checkpoint_is_passed_over_and_said(saved, damage):
  step = saved / 'checkpoints' / '4'
  for path in itertools.chain(payloads(step, 'state'), payloads(step, 'ema')):
    raw = bytearray(path.read_bytes())
    if damage == 'flip':
      raw[len(raw) // 2] ^= 4
      path.write_bytes(raw)
    elif damage == 'gone':
      path.unlink()
    else:
      path.write_bytes(raw[:len(raw) // 2] if damage == 'cut' else b'')
  said = []
  got, data = restore(saved, said=said)
  assert int(got.step) == 2 and next(data) == 2
  assert any('checkpoint 4 cannot be read' in line for line in said)
  np.testing.assert_array_equal(got.params['w'], some_state(2, 2).params['w'])


def test_a_damaged_checkpoint_gives_way_to_the_next_of_its_step(saved):
  for path in payloads(saved / 'checkpoints' / '4', 'state'):
    path.write_bytes(b'')
  state, data = restore(saved)
  held = checkpoint.Checkpoints(str(saved), keep=2)
  held.save(4, state.replace(step=jnp.int32(4)), data)
  held.close()
  got, data = restore(saved)
  assert int(got.step) == 4 and next(data) == 2


def test_another_place_in_the_data_is_noticed(saved):
  place = saved / 'checkpoints' / '4' / 'data' / 'metadata'
  kept = json.loads(place.read_text())
  place.write_text(json.dumps(kept | {'next_index': kept['next_index'] + 1}))
  got, data = restore(saved)
  assert int(got.step) == 2 and next(data) == 2


def test_none_is_whole_none_comes_back(saved):
  for path in (saved / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(b'')
  assert restore(saved)[0] is None


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.int32])
def test_every_flipped_bit_changes_the_checksum(dtype):
  x = np.asarray(jnp.arange(12).astype(dtype)).reshape(3, 4)
  right = checkpoint.sums_of({'x': jnp.asarray(x)})
  raw = bytearray(x.tobytes())
  for bit in range(8 * len(raw)):
    raw[bit // 8] ^= 1 << bit % 8
    flipped = np.frombuffer(bytes(raw), x.dtype).reshape(3, 4)
    assert checkpoint.sums_of({'x': jnp.asarray(flipped)}) != right
    raw[bit // 8] ^= 1 << bit % 8


def test_the_average_alone_can_be_read(saved):
  state = some_state(0)
  held = checkpoint.Checkpoints(str(saved), read_only=True)
  step, (ema,) = held.restore_ema(shapes(state, sharding.make_mesh(1)))
  assert step == 4
  np.testing.assert_array_equal(ema['w'], some_state(4, 4).ema[0]['w'])


def test_averages_kept_apart_come_back_by_step(tmp_path):
  held = checkpoint.Checkpoints(str(tmp_path), 'averages')
  for step in (2, 4):
    held.save_ema(step, some_state(step, step))
  held.close()
  wanted = shapes(some_state(0), sharding.make_mesh(1))
  _, (ema,) = checkpoint.Checkpoints(
      str(tmp_path), 'averages', read_only=True).restore_ema(wanted, [2])
  np.testing.assert_array_equal(ema['w'], some_state(2, 2).ema[0]['w'])


def test_a_workdir_is_held_by_one(tmp_path):
  first = checkpoint.lock(str(tmp_path))
  with pytest.raises(BlockingIOError):
    checkpoint.lock(str(tmp_path))
  first.close()
  checkpoint.lock(str(tmp_path)).close()
