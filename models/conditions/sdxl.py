"""Two CLIPs side by side, the text encoder of Stable Diffusion XL: arXiv:2307.01952."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, context
from models.conditions import clip

NAMES = ('clip_l', 'clip_g')  # OpenAI's ViT-L/14 and OpenCLIP's ViT-bigG/14


def two_clips(module, *projections: str):
  """Both CLIPs of a module with the fields vocab, end, pads, widths, depths, heads and
  dtype."""
  end = module.end or module.vocab - 1
  columns = zip(module.widths, module.depths, module.heads, clip.ACTS,
                module.pads or (end, 0), projections, NAMES)
  return [clip.CLIP(
      vocab=module.vocab, end=end, width=width, depth=depth, heads=heads, act=act,
      pad=pad, skip=1, pooled=pooled, added=getattr(module, 'added', 0),
      dtype=module.dtype, name=name)
          for width, depth, heads, act, pad, pooled, name in columns]


def both(encoders, tokens, separate: bool):
  """What two CLIPs make of tokens, of the same, or each of its own half of them."""
  rows = jnp.split(tokens, 2, 1) if separate else (tokens, tokens)
  return [encode(row) for encode, row in zip(encoders, rows)]


def check_two(module, vocab: int, *lengths: int):
  """Raises ValueError for fields of two CLIPs that make no sense, or tokens that have
  no place. lengths: tokens of a caption and most of them, where these are alone."""
  checks.require(len(module.pads) in (0, 2), 'config.condition.pads', module.pads,
                 'it needs two entries, or none.')
  for name, values in (('pads', module.pads), ('end', (module.end,))):
    checks.require(all(value < module.vocab for value in values),
                   f'config.condition.{name}', values, 'it must be below the vocab.')
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
  """Two CLIPs that read the same text, as in Stable Diffusion XL (arXiv:2307.01952).

  Attributes:
    vocab: number of tokens.
    end, pads: the token that ends a caption, 0 for the last of them; what stands
      after it, of either CLIP; () for the end, and 0.
    separate: each has tokens of its own, one after the other.
    widths, depths, heads: of the two transformers.
    added: tokens that are learned beside the tables of both.
    zeros: the empty caption is zeros, text and pooled, in place of what the encoders
      make of it. A row of tokens that are all 0, no caption, is so in any case.
  """
  vocab: int = 49408
  widths: tuple[int, int] = (768, 1280)
  depths: tuple[int, int] = (12, 32)
  heads: tuple[int, int] = (12, 20)
  end: int = 0
  pads: tuple[int, ...] = ()
  separate: bool = False
  zeros: bool = True
  added: int = 0
  dtype: Any = jnp.float32
  gives = frozenset({'text', 'mask', 'pooled'})
  positive = ('widths', 'depths', 'heads')

  def check(self, vocab: int, length: int):
    check_two(self, vocab, length // (1 + self.separate), clip.CLIP.length)

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask, pooled [b e]."""
    small, large = both(two_clips(self, 'none', 'projection'), tokens, self.separate)
    text, pooled = jnp.concatenate([small.text, large.text], -1), large.pooled
    said = (tokens != 0).any(1)
    if self.zeros:  # something stands between start and end
      end = self.end or self.vocab - 1
      said &= tokens[:, 1] != end
    text, pooled = text * said[:, None, None], pooled * said[:, None]
    return context.Context(text, small.mask, pooled)
