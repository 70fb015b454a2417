"""A U-Net led by a picture of edges, depth, a pose: ControlNet, arXiv:2302.05543.

A copy of the way down and of the middle sees the picture of control; what it finds is
added to the U-Net's, through layers that start at zero.
"""
import dataclasses

from flax import linen as nn
import jax

from models import checks
from models.backbones import unet, unet_blocks

ZERO = nn.initializers.zeros


class ControlNet(unet.UNet):
  """The copy. hint_widths: channels of the convolutions that bring the picture of
  control, each but the first halved, to the size of latents.

  Returns what is added to each [b h w d] on the U-Net's way down, and to the middle's.
  """
  hint_widths: tuple[int, ...] = (16, 32, 96, 256)
  needs = property(lambda self: super().needs | {'control'})

  def run(self, x, scalars, context, taps):
    x, _ = self.first(x)
    hint = self.hint(context.control)
    checks.require(hint.shape[1:] == x.shape[1:], 'config.model.hint_widths',
                   self.hint_widths, 'each but the first halves the picture, of '
                   f'{context.control.shape[1:3]} pixels, down to {x.shape[1:3]}.')
    x = x + hint
    x, skips = unet_blocks.way_down(self, x, self.block_of(scalars, context, None),
                                    self.mid_attention)
    def zero(name, y):
      return nn.Dense(y.shape[-1], dtype=self.dtype, kernel_init=ZERO, name=name)(y)
    added = [zero(f'zero_{i}', skip) for i, skip in enumerate(skips)]
    return (added, zero('zero_middle', x)), {}

  def hint(self, control):
    """control: f32[b H W c] in [-1, 1], seen from 0 to 1. Returns [b h w width]."""
    first, *widths = self.hint_widths
    x = nn.silu(self.conv('hint_in', first, ((control + 1) / 2).astype(self.dtype)))
    for i, width in enumerate(widths):
      x = nn.silu(self.conv(f'hint_{2 * i}', x.shape[-1], x))
      x = nn.silu(self.conv(f'hint_{2 * i + 1}', width, x, strides=(2, 2),
                            padding=((1, 1), (1, 1))))
    return self.conv('hint_out', self.stem_channels or self.width, x, kernel_init=ZERO)


class ControlledUNet(unet.UNet):
  """A U-Net with a ControlNet of the same fields beside it.

  Attributes:
    hint_widths: as in ControlNet.
    control_scale: by which what is added is multiplied.
  """
  hint_widths: tuple[int, ...] = (16, 32, 96, 256)
  control_scale: float = 1.0
  needs = property(lambda self: super().needs | {'control'})
  positive = (*unet.UNet.positive, 'hint_widths')

  def added(self, x, scalars, context):
    fields = {field.name: getattr(self, field.name)
              for field in dataclasses.fields(unet.UNet)
              if field.name not in ('parent', 'name')}
    control = ControlNet(**fields | dict(shown='nothing'), hint_widths=self.hint_widths,
                         name='control')
    skips, middle = control(x, scalars, context)
    return [self.control_scale * skip for skip in skips], self.control_scale * middle

  def started(self, values, shapes):
    """The ControlNet starts as a copy, where the weights have none."""
    if jax.tree.leaves(values.get('control')):
      return values
    return values | {'control': {name: values[name] for name in shapes['control']
                                 if name in values}}

  def check(self, size):
    super().check(size)
    checks.require(not self.input_skips, 'config.model.input_skips', True,
                   'a controlled_unet takes False.')
