"""The latents of Stable Diffusion's autoencoder: arXiv:2112.10752."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, layers
from models.backbones import unet_blocks

EPS = 1e-6  # of normalisation


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
    width, channel_mult, num_res_blocks, groups, quant: as in KL.
  """
  channels: int
  width: int
  channel_mult: tuple[int, ...]
  num_res_blocks: int
  groups: int
  quant: bool
  dtype: Any

  def conv(self, name, width, x, **kwargs):
    return nn.Conv(width, (3, 3), dtype=self.dtype, name=name, **kwargs)(x)

  def block(self, name, level, x):
    return ResBlock(self.width * self.channel_mult[level], self.groups, self.dtype,
                    name=name)(x)

  def middle(self, x):
    last = len(self.channel_mult) - 1
    x = self.block('middle_0', last, x)
    x = unet_blocks.SelfAttention(1, self.groups, EPS, False, False, self.dtype,
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
    for level in range(len(self.channel_mult)):
      if level:  # zeros stand after the picture alone
        x = self.conv(f'down_{level}', x.shape[-1], x, strides=(2, 2),
                      padding=((0, 1), (0, 1)))
      for i in range(self.num_res_blocks):
        x = self.block(f'down_{level}_{i}', level, x)
    return self.mixed(self.out(self.middle(x)))


class Decoder(Half):
  """Latents to pictures."""

  @nn.compact
  def __call__(self, z):
    """z: [b h/f w/f c]. Returns [b h w channels]."""
    x = self.mixed(z.astype(self.dtype))
    x = self.middle(self.conv('in', self.width * self.channel_mult[-1], x))
    for level in reversed(range(len(self.channel_mult))):
      for i in range(self.num_res_blocks + 1):
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
    channel_mult: width of each level as a multiple of `width`; each level halves the
      size.
    num_res_blocks: residual blocks a level on the way down; one more on the way up.
    groups: of group normalisation.
    scale, shift: what a diffusion model sees is (latents - shift) * scale.
    quant: convolutions of one pixel on both sides of the latents.
  """
  channels: int = 4
  width: int = 128
  channel_mult: tuple[int, ...] = (1, 2, 4, 4)
  num_res_blocks: int = 2
  groups: int = 32
  scale: float = 0.18215
  shift: float = 0.0
  quant: bool = True
  dtype: Any = jnp.float32

  @property
  def factor(self) -> int:
    """Pixels a side that one latent stands for."""
    return 2 ** (len(self.channel_mult) - 1)

  def setup(self):
    shared = dict(width=self.width, channel_mult=self.channel_mult, groups=self.groups,
                  num_res_blocks=self.num_res_blocks, quant=self.quant,
                  dtype=self.dtype)
    self.encoder = Encoder(2 * self.channels, **shared)
    self.decoder = Decoder(3, **shared)

  def moments(self, x):
    """Mean and log variance of the latents of pictures, side by side.

    x: f32[b h w 3] in [-1, 1], h and w multiples of factor. Returns f32[b h/f w/f
    2*channels].
    """
    return self.encoder(x).astype(jnp.float32)

  def draw(self, moments, eps=None):
    """Latents, as a diffusion model sees them.

    moments: as `moments` gives them. eps: f32[b h/f w/f channels], normal; None gives
    the mean. Returns f32[b h/f w/f channels].
    """
    mean, log_var = jnp.split(moments, 2, -1)
    if eps is not None:
      mean += jnp.exp(jnp.clip(log_var, -30, 20) / 2) * eps
    return (mean - self.shift) * self.scale

  def decode(self, z):
    """z: f32[b h/f w/f channels], as `draw` gives it. Returns f32[b h w 3]."""
    return self.decoder(z / self.scale + self.shift).astype(jnp.float32)

  def __call__(self, x, eps):
    return self.decode(self.draw(self.moments(x), eps))

  def check(self):
    """Raises ValueError for fields that make no sense."""
    key = 'config.autoencoder'
    checks.positive(self, key, 'channels', 'width', 'channel_mult', 'num_res_blocks',
                    'groups', 'scale')
    for mult in self.channel_mult:
      checks.divides(f'{key}.groups', self.groups, self.width * mult,
                     'the width of a level')
