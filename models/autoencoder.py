"""Between pictures and what a backbone sees of them: the pixels, or latents."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp


class Pixels(nn.Module):
  """None: the backbone sees the pictures as they are."""
  dtype: Any = jnp.float32
  channels, factor = 3, 1

  def check(self):
    """There is nothing to check."""

  def encode(self, x, eps=None):
    """x: f32[b h w 3] in [-1, 1]. Returns what the backbone sees, the same."""
    del eps
    return x

  def decode(self, z):
    """The way back."""
    return z
