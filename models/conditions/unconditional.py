"""No condition."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import context


class Unconditional(nn.Module):
  """An empty Context, whatever the tokens are."""
  dtype: Any = jnp.float32
  gives = frozenset()

  def check(self, vocab: int, length: int):
    """There is nothing to check."""

  def __call__(self, tokens):
    """tokens: int32[b l], which are not looked at."""
    return context.Context()
