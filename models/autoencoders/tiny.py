"""The tiny autoencoder of Stable Diffusion's latents: github.com/madebyollin/taesd."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import checks, layers


class Half(nn.Module):
  """Convolutions, one after another, by their number as in the original.

  Attributes:
    channels: of what comes out.
    width: of all between.
    blocks: residual blocks of each level, as they are gone through.
    down: whether each level but the first starts with a halving; if not, each but the
      last ends with a doubling.
  """
  channels: int
  width: int
  blocks: tuple[int, ...]
  down: bool
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """x: [b h w c]. Returns [b h' w' channels]."""
    count = iter(range(10_000))
    def conv(x, width, at=None, **kwargs):
      name = f'layer_{next(count)}' if at is None else at
      return nn.Conv(width, (3, 3), padding=1, dtype=self.dtype, name=name, **kwargs)(x)
    def block(x):
      at, y = f'layer_{next(count)}', x
      for i in (0, 2, 4):
        y = conv(jax.nn.relu(y) if i else y, self.width, f'{at}_conv_{i}')
      return jax.nn.relu(x + y)
    x = conv(x.astype(self.dtype), self.width)
    if not self.down:
      next(count)
      x = jax.nn.relu(x)
    for level, blocks in enumerate(self.blocks):
      if self.down and level:
        x = conv(x, self.width, strides=(2, 2), use_bias=False)
      for _ in range(blocks):
        x = block(x)
      if not self.down and level < len(self.blocks) - 1:
        next(count)
        x = conv(layers.upsample(x), self.width, use_bias=False)
    return conv(x, self.channels)


class Tiny(nn.Module):
  """Latents of Stable Diffusion, and back, by a hundredth of the work of `kl`.

  The latents are those that a diffusion model sees. Its weights are trained elsewhere;
  the defaults are TAESD's, 2,445,063 parameters; TAESD3 has channels=16.

  Attributes:
    channels: of the latents.
    width: of all layers.
    encoder_blocks, decoder_blocks: residual blocks of each level, from the picture, and
      from the latents.
    scale: what a diffusion model sees is latents * scale.
    image_channels: of the pictures.
  """
  channels: int = 4
  width: int = 64
  encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
  decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)
  scale: float = 1.0
  image_channels: int = 3
  dtype: Any = jnp.float32
  positive = ('channels', 'width', 'encoder_blocks', 'decoder_blocks', 'scale')
  factor = property(lambda self: 2 ** (len(self.decoder_blocks) - 1))

  def setup(self):
    self.encoder = Half(self.channels, self.width, self.encoder_blocks, True,
                        self.dtype)
    self.decoder = Half(self.image_channels, self.width, self.decoder_blocks, False,
                        self.dtype)

  def moments(self, x):
    """The latents themselves: f32[b h/f w/f channels]."""
    return self.encoder((x + 1) / 2).astype(jnp.float32)

  def draw(self, moments, eps=None):
    """The latents, which have no spread."""
    return moments * self.scale

  def decode(self, z):
    """The way back; latents are bounded to 3 before, softly."""
    z = 3 * jnp.tanh(z / self.scale / 3)
    return 2 * self.decoder(z).astype(jnp.float32) - 1

  def __call__(self, x, eps):
    return self.decode(self.draw(self.moments(x), eps))

  def check(self):
    checks.require(len(self.encoder_blocks) == len(self.decoder_blocks),
                   'config.autoencoder.encoder_blocks', self.encoder_blocks,
                   'there are as many levels as in decoder_blocks.')
