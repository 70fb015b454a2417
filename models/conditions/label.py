"""A class as the condition."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import checks, context


class Class(nn.Module):
  """A class as a vector with a single one: its table is the backbone's first layer.

  Attributes:
    classes: how many there are. They are the tokens from 2 on; 0 is no class.
    null: no class has an entry of its own, as in DiT; if not, it is zeros, as in EDM.
  """
  classes: int
  null: bool = True
  dtype: Any = jnp.float32
  gives = frozenset({'text', 'mask', 'pooled'})
  by_class = True
  positive = ('classes',)

  def check(self, vocab: int, length: int):
    checks.require(length >= 2, 'config.tokenizer.length', length, 'a class takes 2.')

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l], of which the second counts. Its text has one token."""
    index = jnp.where(tokens[:, 1] == 0, self.classes, tokens[:, 1] - 2)
    one = jax.nn.one_hot(index, self.classes + self.null, dtype=self.dtype)
    return context.Context(one[:, None], jnp.ones((len(one), 1), bool), one)
