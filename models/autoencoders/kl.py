"""The latents of Stable Diffusion's autoencoder: arXiv:2112.10752."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, layers
from models.backbones import unet_blocks

EPS = 1e-6  # of normalisation


class Half(nn.Module):
  """What both halves have. channels: of what comes out. The others are as in KL."""
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
    width = self.width * self.channel_mult[level]
    return unet_blocks.ResBlock(width, self.groups, EPS, False, 0.0, False, self.dtype,
                                name=name)(x)

  def middle(self, x):
    x = self.block('middle_0', -1, x)
    x = unet_blocks.SelfAttention(1, self.groups, EPS, False, False, self.dtype,
                                  name='middle_0_attention')(x, None, None)
    return self.block('middle_1', -1, x)

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
    """x: [b h w c]. Returns [b h/f w/f channels]."""
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
    mean, std: of each channel, where those are known: (latents - mean) / std * scale,
      as in Playground 2.5.
    quant: convolutions of one pixel on both sides of the latents.
    image_channels: of the pictures.
  """
  channels: int = 4
  width: int = 128
  channel_mult: tuple[int, ...] = (1, 2, 4, 4)
  num_res_blocks: int = 2
  groups: int = 32
  scale: float = 0.18215
  shift: float = 0.0
  quant: bool = True
  mean: tuple[float, ...] = ()
  std: tuple[float, ...] = ()
  image_channels: int = 3
  signed = ('shift', 'mean')
  positive = ('channels', 'width', 'channel_mult', 'num_res_blocks', 'groups', 'scale')
  dtype: Any = jnp.float32
  factor = property(lambda self: 2 ** (len(self.channel_mult) - 1))

  def setup(self):
    shared = (self.width, self.channel_mult, self.num_res_blocks, self.groups,
              self.quant, self.dtype)
    self.encoder = Encoder(2 * self.channels, *shared)
    self.decoder = Decoder(self.image_channels, *shared)

  def moments(self, x):
    """Mean and log variance of latents, side by side: f32[b h/f w/f 2*channels]."""
    return self.encoder(x).astype(jnp.float32)

  def draw(self, moments, eps=None):
    """Latents as a diffusion model sees them: the mean, or drawn by eps."""
    mean, log_var = jnp.split(moments, 2, -1)
    if eps is not None:
      mean += jnp.exp(jnp.clip(log_var, -30, 20) / 2) * eps
    mean = (mean - jnp.asarray(self.mean)) / jnp.asarray(self.std) if self.std else mean
    return (mean - self.shift) * self.scale

  def decode(self, z):
    """The way back."""
    z = z / self.scale + self.shift
    z = z * jnp.asarray(self.std) + jnp.asarray(self.mean) if self.std else z
    return self.decoder(z).astype(jnp.float32)

  def __call__(self, x, eps):
    return self.decode(self.draw(self.moments(x), eps))

  def check(self):
    for name in ('mean', 'std'):
      checks.require(len(getattr(self, name)) == (self.channels if self.std else 0),
                     f'config.autoencoder.{name}', getattr(self, name),
                     f'mean and std have {self.channels} numbers, or none.')
    checks.require(all(self.std) or not self.std, 'config.autoencoder.std', self.std,
                   'it must be above 0.')
    for mult in self.channel_mult:
      checks.divides('config.autoencoder.groups', self.groups, self.width * mult,
                     'the width of a level')
