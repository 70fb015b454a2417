"""Geometric changes of training pictures of which the network is told, so that what it
draws does not show them: arXiv:2206.00364 appendix F.2."""
import jax
import jax.numpy as jnp
from jax.scipy import ndimage

LABELS = 9
SCALE, SHIFT = 0.2, 0.125  # octaves; share of the side


def draw(key, b: int, chance: float):
  """What happens to b pictures, each change by itself with this chance.

  All are mirrored in one case of two. Then follow turning upside down, one scale for
  both axes, a turn, another scale along some axis and across it, and a shift. As
  published, stretching along an axis and pressing it have the same labels.

  Returns:
    {'labels': f32[b LABELS], zeros for nothing; 'mirror': bool[b]; 'back': f32[b 2 3],
    from a place (row, column) in the new picture to that in the old one, in sides
    from the centre; 'moved': bool[b], where that is not the identity}.
  """
  keys = iter(jax.random.split(key, 14))
  def some(value):  # with `chance`, else zero
    chosen = jax.random.bernoulli(next(keys), chance, (b,))
    return jnp.where(chosen[:, None], value, 0)
  def normal(n):
    return jax.random.normal(next(keys), (b, n))
  def turn():
    return jax.random.uniform(next(keys), (b, 1), minval=-jnp.pi, maxval=jnp.pi)
  mirror = jax.random.bernoulli(next(keys), 0.5, (b,))
  over = some(jax.random.bernoulli(next(keys), 0.5, (b, 1)))
  size, angle = some(normal(1)), some(turn())
  along = turn()
  stretch, shift = some(normal(1)), some(normal(2))
  labels = jnp.concatenate([
      mirror[:, None], over, size, jnp.cos(angle) - 1, jnp.sin(angle),
      stretch * jnp.cos(along), stretch * jnp.sin(along), shift], -1)

  over, size, angle, along, stretch = (
      x[:, 0] for x in (over, size, angle, along, stretch))
  smaller, narrower = 2 ** -(SCALE * size), 2 ** -(SCALE * stretch)
  back = scaled((1 - 2 * over) * smaller, smaller)
  for matrix in (rotated(-angle), rotated(along), scaled(narrower, 1 / narrower),
                 rotated(-along)):
    back = back @ matrix
  offset = -jnp.einsum('bij,bj->bi', back, SHIFT * shift)
  return {'labels': labels, 'mirror': mirror,
          'back': jnp.concatenate([back, offset[..., None]], -1),
          'moved': jnp.any(labels[:, 1:] != 0, -1)}


def scaled(rows, columns):
  """f32[b] each -> the matrices f32[b 2 2] that scale by them."""
  return jnp.stack([rows, columns], -1)[..., None] * jnp.eye(2)


def rotated(angle):
  """f32[b] -> the matrices f32[b 2 2] that turn by it."""
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return jnp.stack([cos, -sin, sin, cos], -1).reshape(-1, 2, 2)


def change(x, drawn):
  """Pictures f32[b h h c], with what `draw` says done to them.

  Beyond its edge a picture goes on as its mirror image. It is sampled between pixels
  of twice the size, so that it stays sharp; what is only mirrored keeps its pixels.
  """
  h = x.shape[1]
  x = jnp.where(drawn['mirror'][:, None, None, None], x[:, :, ::-1], x)
  fine = jax.image.resize(x, (len(x), 2 * h, 2 * h, x.shape[-1]), 'lanczos3')
  side = (jnp.arange(h) + 0.5) / h - 0.5
  places = jnp.stack([*jnp.meshgrid(side, side, indexing='ij'), jnp.ones((h, h))])
  def sample(picture, back):  # [2h 2h c], [2 3]
    at = (jnp.einsum('ij,jhw->ihw', back, places) + 0.5) * 2 * h - 0.5
    return jax.vmap(lambda plane: ndimage.map_coordinates(
        plane, tuple(at), order=1, mode='reflect'), -1, -1)(picture)
  moved = jax.vmap(sample)(fine, drawn['back'])
  return jnp.where(drawn['moved'][:, None, None, None], moved, x)
