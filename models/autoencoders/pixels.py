"""No autoencoder: the backbone sees the pictures as they are."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp


class Pixels(nn.Module):
  """Pictures f32[b h w image_channels] in [-1, 1] as their own latents."""
  image_channels: int = 3
  dtype: Any = jnp.float32
  channels = property(lambda self: self.image_channels)
  factor = 1
  pixels = True  # what is noised: x0 can be clipped, and has bits

  def check(self):
    """There is nothing to check."""

  def moments(self, x):
    return x

  def draw(self, moments, eps=None):
    return moments

  def decode(self, z):
    return z
