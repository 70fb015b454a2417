"""Two CLIPs side by side, the text encoder of Stable Diffusion XL: arXiv:2307.01952."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, context
from models.conditions import clip

NAMES = ('clip_l', 'clip_g')  # OpenAI's ViT-L/14 and OpenCLIP's ViT-bigG/14


def two_clips(module, *projections: str):
  """Both CLIPs of a module with the fields vocab, widths, depths, heads and dtype."""
  columns = zip(module.widths, module.depths, module.heads, clip.ACTS,
                (module.vocab - 1, 0), projections, NAMES)
  return [clip.CLIP(
      vocab=module.vocab, width=width, depth=depth, heads=heads, act=act, pad=pad,
      skip=1, pooled=pooled, dtype=module.dtype, name=name)
          for width, depth, heads, act, pad, pooled, name in columns]


def check_two(module, vocab: int, *lengths: int):
  """Raises ValueError for fields of two CLIPs that make no sense, or tokens that have
  no place. lengths: tokens of a caption and most of them, where these are alone."""
  for name in SDXLText.positive:
    value = getattr(module, name)
    checks.require(len(value) == 2, f'config.condition.{name}', value,
                   f'it needs two entries, of {" and ".join(NAMES)}.')
  for width, heads in zip(module.widths, module.heads):
    checks.divides('config.condition.heads', heads, width, 'of config.condition.widths')
  checks.require(min(module.depths) >= 2, 'config.condition.depths', module.depths,
                 'the text is taken from the block before the last, so that each is at '
                 'least 2.')
  checks.tokens(module.vocab, vocab, *lengths)


class SDXLText(nn.Module):
  """Two CLIPs that read the same tokens, as in Stable Diffusion XL (arXiv:2307.01952).

  Attributes:
    vocab: number of tokens, of which the last one ends a caption.
    widths, depths, heads: of the two transformers.
    zeros: the empty caption is zeros, text and pooled, in place of what the encoders
      make of it.
  """
  vocab: int = 49408
  widths: tuple[int, int] = (768, 1280)
  depths: tuple[int, int] = (12, 32)
  heads: tuple[int, int] = (12, 20)
  zeros: bool = True
  dtype: Any = jnp.float32
  gives = frozenset({'text', 'mask', 'pooled'})
  positive = ('widths', 'depths', 'heads')

  def check(self, vocab: int, length: int):
    check_two(self, vocab, length, clip.CLIP.length)

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask, pooled [b e]."""
    small, large = (encode(tokens) for encode in two_clips(self, 'none', 'projection'))
    text, pooled = jnp.concatenate([small.text, large.text], -1), large.pooled
    if self.zeros:
      said = tokens[:, 1] != self.vocab - 1  # something stands between start and end
      text, pooled = text * said[:, None, None], pooled * said[:, None]
    return context.Context(text, small.mask, pooled)
