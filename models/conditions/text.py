"""A text encoder that is trained beside the picture model."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, context, layers


class Text(nn.Module):
  """Bidirectional pre-norm transformer over the tokens of a caption.

  Attributes:
    vocab, length: number of tokens, of which id 0 pads, and most of a caption: those of
      the tokenizer.
    width, depth, heads: of the transformer.
    added: tokens that are learned beside the table.
  """
  vocab: int
  length: int
  width: int = 128
  depth: int = 2
  heads: int = 4
  added: int = 0
  dtype: Any = jnp.float32
  gives = frozenset({'text', 'mask', 'pooled'})
  positive = ('width', 'depth', 'heads')

  def check(self, vocab: int, length: int):
    checks.heads(self, 'config.condition')
    checks.tokens(self.vocab, vocab, length, self.length)

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask, pooled [b d]."""
    mask = tokens != 0
    small = nn.initializers.normal(0.02)
    x = layers.Embed(self.vocab, self.width, 0.02, self.added, name='embed')(tokens)
    x = x + self.param('positions', small, (self.length, self.width))[:tokens.shape[1]]
    x = x.astype(self.dtype)
    for i in range(self.depth):
      h = layers.Norm(name=f'norm_{i}a')(x)
      x = x + attention.Attention(self.heads, dtype=self.dtype, name=f'attention_{i}')(
          h, mask=mask)
      h = layers.Norm(name=f'norm_{i}b')(x)
      x = x + layers.MLP(4 * self.width, dtype=self.dtype, name=f'mlp_{i}')(h)
    x = layers.Norm(name='norm')(x)
    return context.Context(x, mask, x[:, 0])  # every caption has a first token
