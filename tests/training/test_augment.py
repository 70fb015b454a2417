"""Changes of pictures: they are what their labels say."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training import augment

B, SIDE = 400, 32


@pytest.fixture(scope='module')
def drawn():
  return jax.jit(augment.draw, static_argnums=1)(jax.random.key(0), B, 0.3)


def blobs(row, column):
  """Pictures f32[b SIDE SIDE 1] of a round spot at those places, in sides."""
  side = (np.arange(SIDE) + 0.5) / SIDE - 0.5
  far = ((side[:, None] - row[:, None, None]) ** 2
         + (side - column[:, None, None]) ** 2)
  return np.exp(-far / (2 * 0.08 ** 2))[..., None].astype(np.float32)


def forward(labels, place, sign):
  """Where a place of the mirrored picture goes, as complex numbers row + i column.

  sign: -1 presses where 1 stretches: which of the two it was, the labels leave open.
  """
  _, over, size, cos, sin, along_cos, along_sin, *shift = labels.T
  z = np.where(over == 1, -place.real, place.real) + 1j * place.imag
  z = z * 2 ** (0.2 * size) * (1 + cos + 1j * sin)
  stretch = np.hypot(along_cos, along_sin)
  axis = np.exp(1j * np.arctan2(along_sin, along_cos))
  z = z / axis  # the axis of stretching becomes that of the rows
  octaves = 0.2 * sign * stretch
  z = z.real * 2 ** octaves + 1j * z.imag * 2 ** -octaves
  return z * axis + 0.125 * (shift[0] + 1j * shift[1])


def test_a_spot_goes_where_the_labels_say(drawn):
  rng = np.random.default_rng(0)
  row, column = rng.uniform(-0.15, 0.15, (2, B))
  pictures = np.asarray(jax.jit(augment.change)(blobs(row, column), drawn))
  labels = np.asarray(drawn['labels'])
  start = row + 1j * np.where(labels[:, 0] == 1, -column, column)
  top = pictures[..., 0].reshape(B, -1).argmax(-1)
  at = (np.array(np.divmod(top, SIDE)) + 0.5) / SIDE - 0.5
  off = [np.maximum(abs(at[0] - to.real), abs(at[1] - to.imag))
         for to in (forward(labels, start, 1), forward(labels, start, -1))]
  inside = abs(at).max(0) < 0.35
  assert inside.sum() > 0.8 * B
  assert np.minimum(*off)[inside].max() < 1.3 / SIDE
  assert pictures[inside].max((1, 2, 3)).min() > 0.9  # and it stays as bright


def test_each_change_comes_as_often_as_asked(drawn):
  labels = np.asarray(drawn['labels'])
  changed = np.stack([labels[:, 1], labels[:, 2], labels[:, 4], labels[:, 5],
                      labels[:, 7], labels[:, 8]]) != 0
  want = 0.3 * np.array([0.5, 1, 1, 1, 1, 1])  # upside down in one of two of them
  assert (abs(changed.mean(1) - want) < 4 * np.sqrt(want * (1 - want) / B)).all()
  assert abs(labels[:, 0].mean() - 0.5) < 4 * 0.5 / B**0.5
  assert (changed[4] == changed[5]).all()
  for i, std in ((2, 1.0), (7, 1.0)):
    some = labels[labels[:, i] != 0, i]
    assert abs(some.std() / std - 1) < 4 / np.sqrt(2 * len(some))


def test_what_is_not_changed_keeps_its_pixels():
  drawn = augment.draw(jax.random.key(1), 8, 0.0)
  x = jax.random.normal(jax.random.key(2), (8, 6, 6, 3))
  mirror = np.asarray(drawn['mirror'])
  assert 0 < mirror.sum() < 8
  want = np.where(mirror[:, None, None, None], x[:, :, ::-1], x)
  np.testing.assert_array_equal(augment.change(x, drawn), want)
  np.testing.assert_array_equal(drawn['labels'], np.eye(9)[0] * mirror[:, None])


def test_an_edge_goes_on_as_a_mirror():
  """A shift of half a side: the rows that come in are those at the edge, reversed."""
  drawn = {'mirror': jnp.zeros(1, bool), 'moved': jnp.ones(1, bool),
           'back': jnp.array([[[1.0, 0, -0.5], [0, 1, 0]]])}
  rows = np.repeat(np.linspace(-1, 1, 16, dtype=np.float32)[:, None], 16, 1)
  got = np.asarray(augment.change(rows[None, ..., None], drawn))[0, ..., 0]
  np.testing.assert_allclose(got[8:], rows[:8], atol=0.04)
  np.testing.assert_allclose(got[:8], rows[7::-1], atol=0.04)
