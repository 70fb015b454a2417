"""Vision transformers (arXiv:2010.11929): DINOv2 (arXiv:2304.07193) and CLIP's tower
(arXiv:2103.00020)."""
from flax import linen as nn
import jax.numpy as jnp

from evaluation.features import resampling
from models import attention, layers


class Block(nn.Module):
  """Attention and an MLP, each a residual behind its normalisation.

  scaled: each residual is multiplied channel by channel (arXiv:2103.17239).
  """
  heads: int
  act: str
  eps: float
  scaled: bool

  @nn.compact
  def __call__(self, x):
    """x: [b n d]. Returns the same."""
    def scale(y, i):
      if not self.scaled:
        return y
      return y * self.param(f'scale_{i}', nn.initializers.ones, (y.shape[-1],))
    def norm(x, i):
      return layers.Norm(eps=self.eps, name=f'norm_{i}')(x)
    x = x + scale(attention.Attention(self.heads, bias=True, name='attention')(
        norm(x, 1)), 1)
    return x + scale(layers.MLP(4 * x.shape[-1], act=self.act, name='mlp')(
        norm(x, 2)), 2)


class DINOv2(nn.Module):
  """The class token's last state, normalised.

  Attributes:
    table: places a side of the trained table of positions.
    offset: added to the number of patches a side where the table is resized: 0.1 in the
      original, by which FD-DINOv2 is computed, 0 in transformers.
  """
  width: int
  depth: int
  heads: int
  patch: int = 14
  table: int = 37
  offset: float = 0.1

  @nn.compact
  def __call__(self, x):
    """x: f32[b h w 3], normalised. Returns {'cls': f32[b d]}."""
    d, b = self.width, len(x)
    x = nn.Conv(d, (self.patch,) * 2, self.patch, 'VALID', name='in')(x)
    h, w = x.shape[1:3]
    first = nn.initializers.normal(0.02)
    cls = self.param('cls', first, (1, 1, d))
    positions = self.param('positions', first, (1, self.table**2 + 1, d))
    grid = positions[0, 1:].reshape(self.table, self.table, d)
    if (h, w) != grid.shape[:2]:
      rows, columns = (resampling.bicubic(
          self.table, n, -0.75, antialias=False, scale=self.table / (n + self.offset))
                       for n in (h, w))
      grid = jnp.einsum('yh,hwd,xw->yxd', rows, grid, columns)
    x = jnp.concatenate([jnp.broadcast_to(cls + positions[:, :1], (b, 1, d)),
                         (x + grid).reshape(b, h * w, d)], 1)  # [b 1+n d]
    block = Block(self.heads, 'gelu', 1e-6, True, name='blocks')
    x, _ = layers.repeat([(block, self.depth)], 'none', x)
    return {'cls': layers.Norm(eps=1e-6, name='norm')(x[:, 0])}


class CLIPVision(nn.Module):
  """CLIP's tower of pictures.

  Attributes:
    act: of the MLPs: 'quick_gelu' (OpenAI's) or 'gelu' (OpenCLIP's).
    projected: width of what pictures and texts share.
    size: of the pictures: the table of positions has a place for each patch.
  """
  width: int
  depth: int
  heads: int
  patch: int
  projected: int
  size: int = 224
  act: str = 'quick_gelu'

  @nn.compact
  def __call__(self, x):
    """x: f32[b size size 3], normalised. Returns {'pooled': f32[b d], the class token's
    last state, normalised, 'embedding': f32[b projected], not of unit length}."""
    d, b = self.width, len(x)
    x = nn.Conv(d, (self.patch,) * 2, self.patch, 'VALID', use_bias=False,
                name='in')(x).reshape(b, -1, d)
    first = nn.initializers.normal(0.02)
    cls = self.param('cls', first, (d,))
    x = jnp.concatenate([jnp.broadcast_to(cls, (b, 1, d)), x], 1)  # [b 1+n d]
    x = x + self.param('positions', first, x.shape[1:])
    x = layers.Norm(eps=1e-5, name='norm_in')(x)
    block = Block(self.heads, self.act, 1e-5, False, name='blocks')
    x, _ = layers.repeat([(block, self.depth)], 'none', x)
    pooled = layers.Norm(eps=1e-5, name='norm')(x[:, 0])
    return {'pooled': pooled, 'embedding': nn.Dense(
        self.projected, use_bias=False, name='projection')(pooled)}
