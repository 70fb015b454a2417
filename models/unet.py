"""A U-Net with self- and cross-attention: arXiv:2105.05233, arXiv:2112.10752."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, layers


class ResBlock(nn.Module):
  """Two convolutions, the second modulated by a condition: arXiv:2105.05233 eq. 3."""
  width: int
  groups: int
  dtype: Any

  @nn.compact
  def __call__(self, x, c):
    """x: [b h w d]. c: [b e]. Returns [b h w width]."""
    def conv(name, y, **kwargs):
      return nn.Conv(self.width, (3, 3), dtype=self.dtype, name=name, **kwargs)(y)
    h = conv('conv_1', nn.silu(layers.Norm(self.groups, name='norm_1')(x)))
    scale, shift = layers.Modulation(2, self.width, self.dtype, name='modulation')(c)
    h = layers.Norm(self.groups, name='norm_2')(h)
    h = h * (1 + scale[:, None, None]) + shift[:, None, None]
    h = conv('conv_2', nn.silu(h), kernel_init=nn.initializers.zeros)
    if x.shape[-1] != self.width:
      x = nn.Dense(self.width, dtype=self.dtype, name='skip')(x)
    return x + h


class TransformerBlock(nn.Module):
  """Self-attention, cross-attention to the text and an MLP, each a residual."""
  head_width: int
  qk_norm: bool
  dtype: Any

  @nn.compact
  def __call__(self, x, text, mask):
    """x: [b h w d]. text: [b l e]. mask: bool[b l]. Returns [b h w d]."""
    b, h, w, d = x.shape
    x = x.reshape(b, h * w, d)  # [b n d]
    def attend(name, *args):
      return attention.Attention(max(1, d // self.head_width), self.qk_norm, zero=True,
                                 dtype=self.dtype, name=name)(*args)
    x = x + attend('self', layers.Norm(name='norm_1')(x))
    x = x + attend('cross', layers.Norm(name='norm_2')(x), text, mask)
    x = x + layers.MLP(4 * d, zero=True, dtype=self.dtype, name='mlp')(
        layers.Norm(name='norm_3')(x))
    return x.reshape(b, h, w, d)


class UNet(nn.Module):
  """Predicts the diffusion target of a noised picture.

  Attributes:
    channels: of the picture and of the prediction.
    width: channels of the first level.
    mults: width of each level as a multiple of `width`; each level halves the size.
    blocks: residual blocks a level on the way down; one more on the way up.
    attention: whether each level has attention, as many as `mults`.
    head_width: channels of an attention head.
    patch: space-to-depth at the input: the first level works at size / patch.
    positions: side of a learned map added at the input, size / patch; 0 for none.
    groups: of group normalisation.
  """
  channels: int = 3
  width: int = 128
  mults: tuple[int, ...] = (1, 2)
  blocks: int = 2
  attention: tuple[bool, ...] = (True, True)
  head_width: int = 32
  qk_norm: bool = False
  patch: int = 1
  positions: int = 0
  groups: int = 32
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x, t, text, mask, pooled):
    """x: [b h w channels]. t: f32[b]. text: [b l e]. mask: bool[b l]. pooled: [b e].

    h and w are multiples of patch * 2 ** (levels - 1). Returns f32[b h w channels].
    """
    wide = 4 * self.width
    def dense(name, y):
      return nn.Dense(wide, dtype=self.dtype, name=name)(y)
    c = dense('time_2', nn.silu(dense('time_1', layers.time_features(t, self.width))))
    c = c + dense('pooled', pooled)

    def block(name, x, level):
      width = self.width * self.mults[level]
      x = ResBlock(width, self.groups, self.dtype, name=name)(x, c)
      if self.attention[level]:
        x = TransformerBlock(self.head_width, self.qk_norm, self.dtype,
                             name=f'{name}_attention')(x, text, mask)
      return x

    x = layers.space_to_depth(x.astype(self.dtype), self.patch)
    x = nn.Conv(self.width, (3, 3), dtype=self.dtype, name='in')(x)
    if self.positions:
      x = x + self.param('positions', nn.initializers.normal(0.02),
                         (self.positions, self.positions, self.width)).astype(x.dtype)
    skips = [x]
    for level in range(len(self.mults)):
      if level:
        x = nn.Conv(x.shape[-1], (3, 3), (2, 2), dtype=self.dtype,
                    name=f'down_{level}')(x)
        skips.append(x)
      for i in range(self.blocks):
        x = block(f'down_{level}_{i}', x, level)
        skips.append(x)
    x = block('middle_0', x, len(self.mults) - 1)
    x = ResBlock(x.shape[-1], self.groups, self.dtype, name='middle_1')(x, c)
    for level in reversed(range(len(self.mults))):
      for i in range(self.blocks + 1):
        x = block(f'up_{level}_{i}', jnp.concatenate([x, skips.pop()], -1), level)
      if level:
        x = nn.Conv(x.shape[-1], (3, 3), dtype=self.dtype,
                    name=f'up_{level}')(layers.upsample(x))
    x = nn.silu(layers.Norm(self.groups, name='norm_out')(x))
    x = nn.Conv(self.channels * self.patch**2, (3, 3), dtype=jnp.float32, name='out',
                kernel_init=nn.initializers.zeros)(x)
    return layers.depth_to_space(x, self.patch)
