"""Pickles of tensors come out as safetensors, and nothing that a pickle says is run.

tests/fixtures/make_features.py made pickles/ with PyTorch.
"""
import io
import os
import pickle
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest
import safetensors
from safetensors import numpy as storage

from helpers import references
from interop import convert, pickles

FILES = references.FIXTURES / 'pickles'
BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
STATE = dict(whole=BASE, part=BASE[1:, 2:5], turned=BASE.T, none=np.zeros((0, 3)),
             half=BASE.astype(np.float16), short=BASE.astype(ml_dtypes.bfloat16),
             count=np.array(7), parameter=BASE[0], yes=np.array([True, False]))
TYPES = dict(whole='F32', part='F32', turned='F32', none='F32', half='F16',
             short='BF16', count='I64', parameter='F32', yes='BOOL')


def run(*argv):
  done = subprocess.run(
      [sys.executable, '-m', 'interop.convert', *map(str, argv)],
      capture_output=True, text=True, cwd=references.FIXTURES.parents[1])
  return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize('file, part', [('state.pth', None), ('old.pth', 'model.ema')])
def test_what_pytorch_wrote_comes_out_with_its_types(file, part, tmp_path):
  out = tmp_path / 'out.safetensors'
  code, said, err = run(FILES / file, f'--out={out}', *[f'--part={part}'] * bool(part))
  assert (code, err) == (0, '') and said.startswith(f'{out}: 9 tensors')
  got = storage.load_file(out)
  assert got.keys() == STATE.keys() and os.listdir(tmp_path) == ['out.safetensors']
  for name, want in STATE.items():
    np.testing.assert_array_equal(np.float64(got[name]), np.float64(want), name)
    with safetensors.safe_open(out, 'np') as opened:
      assert opened.get_slice(name).get_dtype() == TYPES[name], name


@pytest.mark.parametrize('protocol', range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_numpy_alone(protocol, tmp_path):
  tree = {'a': {'b': BASE, 'c': np.asfortranarray(BASE), 'd': BASE.astype('>f4')},
          'e': [np.int64([1, 2]), np.float16([[3]])]}
  path = tmp_path / 'numpy.ckpt'
  data = pickle.dumps(tree, protocol)
  for text in (data, data.replace(b'numpy._core', b'numpy.core')
               if protocol < 4 else data):
    path.write_bytes(text)
    got = convert.flat(pickles.read(str(path)))
    assert list(got) == ['a.b', 'a.c', 'a.d', 'e.0', 'e.1']
    np.testing.assert_array_equal(got['a.d'], BASE)
    np.testing.assert_array_equal(got['a.c'], BASE)
    convert.write(str(tmp_path / 'x.safetensors'), got)
    np.testing.assert_array_equal(storage.load_file(tmp_path / 'x.safetensors')['a.d'],
                                  BASE)


class Calls:
  """Unpickles by calling what it is given."""

  def __init__(self, function, *args):
    self.made = function, args

  def __reduce__(self):
    return self.made


HOSTILE = {
    '__builtin__.eval': pickle.dumps(Calls(eval, 'open("made", "w")'), 2),
    'posix.system': b"cposix\nsystem\n(S'touch made'\ntR.",
    'subprocess.Popen': pickle.dumps({'w': Calls(subprocess.Popen, ['touch', 'made'])}),
    'builtins.getattr': pickle.dumps(Calls(getattr, dict, 'fromkeys')),
    'numpy.load': pickle.dumps(Calls(np.load, 'made')),
    'numpy.core.multiarray.scalar': b'cnumpy.core.multiarray\nscalar\n.',
    'collections.OrderedDict.fromkeys': (
        b'\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.fromkeys\x93.'),
    'torch.load': b"ctorch\nload\n(S'x'\ntR.",
    'torch._utils._rebuild_tensor_v3': b'ctorch._utils\n_rebuild_tensor_v3\n.',
    'ml_dtypes.bfloat16': pickle.dumps(ml_dtypes.bfloat16),
    'copyreg._reconstructor': b'ccopyreg\n_reconstructor\n.',
}


@pytest.mark.parametrize('name', HOSTILE)
@pytest.mark.parametrize('form', ['plain', 'zip', 'old'])
def test_a_pickle_that_calls_anything_is_refused_by_name(name, form, tmp_path,
                                                         monkeypatch):
  monkeypatch.chdir(tmp_path)
  path, data = tmp_path / 'weights.pth', HOSTILE[name]
  if form == 'zip':
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('x/data.pkl', data)
  else:
    opening = pickles.OLD + pickle.dumps(1001, 2) + pickle.dumps(
        {'little_endian': True}, 2)
    path.write_bytes(opening * (form == 'old') + data)
  with pytest.raises(ValueError, match=f'weights.pth is refused: .* {name}, which'):
    pickles.read(str(path))
  assert os.listdir(tmp_path) == ['weights.pth']  # nothing ran


def test_the_command_ends_with_2_and_one_line(tmp_path):
  path, out = tmp_path / 'weights.pth', tmp_path / 'out.safetensors'
  path.write_bytes(HOSTILE['posix.system'])
  code, said, err = run(path, f'--out={out}')
  assert code == 2 and said == '' and err.count('\n') == 1
  assert f'interop.convert: {path} is refused: it calls posix.system' in err
  assert os.listdir(tmp_path) == ['weights.pth']


def test_what_a_pickle_may_name_it_cannot_change():
  """BUILD sets attributes of any object on the stack; ours have none to set."""
  def known():
    return {n: getattr(found, 'call', found) for n, found in pickles.NAMES.items()}
  before = known()
  state = pickle.dumps((None, {'call': 1, '__call__': 2, 'new': 3}), 2)[2:-1]
  for name in pickles.NAMES:
    module, _, attribute = name.rpartition('.')
    data = f'c{module}\n{attribute}\n'.encode() + state + b'b.'
    with pytest.raises((AttributeError, TypeError)):
      pickles.Unpickler(io.BytesIO(data), None).load()
  assert before == known()


def storage_pickle(offset, shape, strides, size=24):
  """An archive of one tensor with such a view of 24 numbers."""
  def put(value):
    return pickle.dumps(value, 2)[2:-1]
  body = (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(' + b'(' + put('storage')
          + b'ctorch\nFloatStorage\n' + put('0') + put('cpu') + put(size) + b'tQ'
          + put(offset) + put(shape) + put(strides) + put(False) + put(None) + b'tR.')
  data = io.BytesIO()
  with zipfile.ZipFile(data, 'w') as archive:
    archive.writestr('x/data.pkl', body)
    archive.writestr('x/data/0', BASE.tobytes())
  return data.getvalue()


@pytest.mark.parametrize('view, said', [
    ((0, (4, 6), (6, 1)), None), ((0, (4, 7), (6, 1)), 'no part of its storage'),
    ((-1, (2,), (1,)), 'no part'), ((0, (2, 2), (-1, 1)), 'no part'),
    ((0, (1 << 40,), (0,)), None), ((24, (1,), (1,)), 'no part'),
    ((0, (2,), (1, 1)), 'no part'), ((0, (30,), (1,), 40), 'no whole file')])
def test_a_view_beyond_its_storage_is_refused(view, said, tmp_path):
  path = tmp_path / 'x.pth'
  path.write_bytes(storage_pickle(*view))
  if said is None:
    assert pickles.read(str(path)).shape == view[1]
  else:
    with pytest.raises(ValueError, match=said):
      pickles.read(str(path))


def test_damaged_files_are_named_not_tracebacks(tmp_path):
  """Cut anywhere, and with any byte changed: read, or a ValueError with the path."""
  seed = int.from_bytes(os.urandom(4))
  rng, path = np.random.default_rng(seed), tmp_path / 'x.pth'
  for name in ('state.pth', 'old.pth'):
    whole = (FILES / name).read_bytes()
    for _ in range(150):
      end = rng.integers(len(whole)) if rng.random() < 0.5 else len(whole)
      data = bytearray(whole[:end])
      for _ in range(rng.integers(0, 3) if data else 0):
        data[rng.integers(len(data))] = rng.integers(256)
      path.write_bytes(data)
      try:
        pickles.read(str(path))
      except ValueError as e:
        assert str(path) in str(e), seed


@pytest.mark.parametrize('tree, flags, said', [
    ({'a': BASE, 'b': 3}, (), 'b is 3, no tensor; choose .* with --part'),
    ({'a': BASE, 'b': 3}, ('--part=c',), r"there is no 'c', only \['a', 'b'\]"),
    ({'a': BASE}, ('--part=a.b',), "there is no 'b', only nothing"),
    ({}, (), 'holds no tensors'), ({'a': {'b': BASE}, 'a.b': BASE}, (), "name 'a.b'"),
    ({'a': np.array([None])}, (), 'is of object, not of numbers'),
    ({'a': np.complex64([1])}, (), 'is of complex64, not of numbers'),
    (None, (), 'is None, no tensor')])
def test_what_is_no_table_of_tensors_is_named(tree, flags, said, tmp_path):
  path = tmp_path / 'x.ckpt'
  path.write_bytes(pickle.dumps(tree))
  with pytest.raises(ValueError, match=said):
    part = flags[0].partition('=')[2] if flags else None
    arrays = convert.flat(convert.part_of(pickles.read(str(path)), part))
    if not arrays:
      raise ValueError('holds no tensors')


def test_mistakes_on_the_command_line(tmp_path):
  out = f'--out={tmp_path}/out.safetensors'
  for argv, said in (
      ((), 'one FILE is needed'), ((FILES / 'state.pth',), '--out=NAME.safetensors is'),
      ((FILES / 'state.pth', '--out=x.bin'), 'a name that ends in .safetensors'),
      (('no such', out), 'no such: No such file'),
      ((FILES / 'old.pth', out), 'epoch is 3, no tensor'),
      ((__file__, out), 'no whole file of tensors')):
    code, _, err = run(*argv)
    assert code == 2 and said in err and err.count('\n') == 1, err
  assert not os.listdir(tmp_path)


def test_a_compressed_archive_is_refused(tmp_path):
  path = tmp_path / 'x.pth'
  with zipfile.ZipFile(io.BytesIO(storage_pickle(0, (4, 6), (6, 1)))) as old:
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as new:
      for name in old.namelist():
        new.writestr(name, old.read(name))
  with pytest.raises(ValueError, match='refused: x/data/0 in it is compressed'):
    pickles.read(str(path))
