"""Between pictures and what a backbone sees of them: the pixels, or latents.

The latents are those of Stable Diffusion's autoencoder (arXiv:2112.10752).
"""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import check, layers, unet

EPS = 1e-6  # of normalisation


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


class ResBlock(nn.Module):
  """Two convolutions as a residual, without a condition."""
  width: int
  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x):
    """x: [b h w d]. Returns [b h w width]."""
    h = x
    for i in (1, 2):
      h = nn.silu(layers.Norm(self.groups, eps=EPS, name=f'norm_{i}')(h))
      h = nn.Conv(self.width, (3, 3), dtype=self.dtype, name=f'conv_{i}')(h)
    if x.shape[-1] != self.width:
      x = nn.Dense(self.width, dtype=self.dtype, name='skip')(x)
    return x + h


class Half(nn.Module):
  """What both halves have.

  Attributes:
    channels: of what comes out.
    width, mults, blocks, groups, quant: as in KL.
  """
  channels: int
  width: int
  mults: tuple[int, ...]
  blocks: int
  groups: int
  quant: bool
  dtype: Any

  def conv(self, name, width, x, **kwargs):
    return nn.Conv(width, (3, 3), dtype=self.dtype, name=name, **kwargs)(x)

  def block(self, name, level, x):
    return ResBlock(self.width * self.mults[level], self.groups, self.dtype,
                    name=name)(x)

  def middle(self, x):
    last = len(self.mults) - 1
    x = self.block('middle_0', last, x)
    x = unet.SelfAttention(1, self.groups, EPS, False, False, self.dtype,
                           name='middle_0_attention')(x, None, None)
    return self.block('middle_1', last, x)

  def out(self, x):
    x = nn.silu(layers.Norm(self.groups, eps=EPS, name='norm_out')(x))
    return self.conv('out', self.channels, x)

  def mixed(self, x):
    """The convolution of one pixel beside the latents."""
    return nn.Dense(x.shape[-1], dtype=self.dtype, name='quant')(x) if self.quant else x


class Encoder(Half):
  """Pictures to the mean and the log variance of their latents."""

  @nn.compact
  def __call__(self, x):
    """x: [b h w 3]. Returns [b h/f w/f channels]."""
    x = self.conv('in', self.width, x.astype(self.dtype))
    for level in range(len(self.mults)):
      if level:  # zeros stand after the picture alone
        x = self.conv(f'down_{level}', x.shape[-1], x, strides=(2, 2),
                      padding=((0, 1), (0, 1)))
      for i in range(self.blocks):
        x = self.block(f'down_{level}_{i}', level, x)
    return self.mixed(self.out(self.middle(x)))


class Decoder(Half):
  """Latents to pictures."""

  @nn.compact
  def __call__(self, z):
    """z: [b h/f w/f c]. Returns [b h w channels]."""
    x = self.mixed(z.astype(self.dtype))
    x = self.middle(self.conv('in', self.width * self.mults[-1], x))
    for level in reversed(range(len(self.mults))):
      for i in range(self.blocks + 1):
        x = self.block(f'up_{level}_{i}', level, x)
      if level:
        x = self.conv(f'up_{level}', x.shape[-1], layers.upsample(x))
    return self.out(x)


class KL(nn.Module):
  """Pictures to latents of 1/factor their size, and back.

  The defaults are Stable Diffusion's 1 and 2; its 3 has channels=16, scale=1.5305,
  shift=0.0609, quant=False, and XL scale=0.13025.

  Attributes:
    channels: of the latents.
    width: channels by which the others count.
    mults: width of each level as a multiple of `width`; each level halves the size.
    blocks: residual blocks a level on the way down; one more on the way up.
    groups: of group normalisation.
    scale, shift: what a diffusion model sees is (latents - shift) * scale.
    quant: convolutions of one pixel on both sides of the latents.
  """
  channels: int = 4
  width: int = 128
  mults: tuple[int, ...] = (1, 2, 4, 4)
  blocks: int = 2
  groups: int = 32
  scale: float = 0.18215
  shift: float = 0.0
  quant: bool = True
  dtype: Any = jnp.float32

  @property
  def factor(self) -> int:
    """Pixels a side that one latent stands for."""
    return 2 ** (len(self.mults) - 1)

  def setup(self):
    shared = dict(width=self.width, mults=self.mults, blocks=self.blocks,
                  groups=self.groups, quant=self.quant, dtype=self.dtype)
    self.encoder = Encoder(2 * self.channels, **shared)
    self.decoder = Decoder(3, **shared)

  def encode(self, x, eps=None):
    """A draw of the latents, as a diffusion model sees them.

    x: f32[b h w 3] in [-1, 1], h and w multiples of factor. eps: f32[b h/f w/f
    channels], normal; None gives the mean. Returns f32[b h/f w/f channels].
    """
    mean, log_var = jnp.split(self.encoder(x).astype(jnp.float32), 2, -1)
    if eps is not None:
      mean += jnp.exp(jnp.clip(log_var, -30, 20) / 2) * eps
    return (mean - self.shift) * self.scale

  def decode(self, z):
    """z: f32[b h/f w/f channels], as `encode` gives it. Returns f32[b h w 3]."""
    return self.decoder(z / self.scale + self.shift).astype(jnp.float32)

  def __call__(self, x, eps):
    return self.decode(self.encode(x, eps))

  def check(self):
    """Raises ValueError for fields that make no sense."""
    key = 'config.autoencoder'
    check.positive(self, key, 'channels', 'width', 'mults', 'blocks', 'groups', 'scale')
    for mult in self.mults:
      check.divides(f'{key}.groups', self.groups, self.width * mult,
                    'the width of a level')
