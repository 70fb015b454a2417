"""What a picture is to show, as a context (text [b l e], mask bool[b l], pooled [b e]).

Every condition comes as int32 tokens [b l], so that classes, sentences and nothing at
all go the same way through training, sampling and guidance. Backbones project a context
to their own width.
"""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import attention, check, layers


class Text(nn.Module):
  """Bidirectional pre-norm transformer over the tokens of a caption.

  Attributes:
    vocab: number of tokens; id 0 pads.
    length: most tokens of a caption.
    width, depth, heads: of the transformer.
  """
  vocab: int
  length: int = 32
  width: int = 128
  depth: int = 2
  heads: int = 4
  dtype: Any = jnp.float32

  def check(self):
    """Raises ValueError for fields that make no sense."""
    check.positive(self, 'config.condition', 'width', 'depth', 'heads')
    check.divides('config.condition.heads', self.heads, self.width,
                  'config.condition.width')

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns (tokens [b l d], mask bool[b l], pooled [b d])."""
    mask = tokens != 0
    small = nn.initializers.normal(0.02)
    x = nn.Embed(self.vocab, self.width, embedding_init=small, name='embed')(tokens)
    x = x + self.param('positions', small, (self.length, self.width))[:tokens.shape[1]]
    x = x.astype(self.dtype)
    for i in range(self.depth):
      h = layers.Norm(name=f'norm_{i}a')(x)
      x = x + attention.Attention(self.heads, dtype=self.dtype, name=f'attention_{i}')(
          h, mask=mask)
      h = layers.Norm(name=f'norm_{i}b')(x)
      x = x + layers.MLP(4 * self.width, dtype=self.dtype, name=f'mlp_{i}')(h)
    x = layers.Norm(name='norm')(x)
    return x, mask, x[:, 0]  # the first token, which every caption has, sums it up


class Class(nn.Module):
  """A class as a vector with a single one: its table is the backbone's first layer.

  Attributes:
    classes: how many there are. They are the tokens from 2 on; 0 is no class.
    null: no class has an entry of its own, as in DiT; if not, it is zeros, as in EDM.
  """
  classes: int
  null: bool = True
  dtype: Any = jnp.float32

  def check(self):
    """Raises ValueError for fields that make no sense."""
    check.positive(self, 'config.condition', 'classes')

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l], of which the second counts. The context has one token."""
    index = jnp.where(tokens[:, 1] == 0, self.classes, tokens[:, 1] - 2)
    one = jax.nn.one_hot(index, self.classes + self.null, dtype=self.dtype)
    return one[:, None], jnp.ones((len(one), 1), bool), one


class Nothing(nn.Module):
  """No condition: a context of no tokens and no width."""
  dtype: Any = jnp.float32

  def check(self):
    """There is nothing to check."""

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l], which are not looked at."""
    b = len(tokens)
    return (jnp.zeros((b, 0, 0), self.dtype), jnp.zeros((b, 0), bool),
            jnp.zeros((b, 0), self.dtype))
