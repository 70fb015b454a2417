"""Two CLIPs side by side, the text encoder of Stable Diffusion XL: arXiv:2307.01952."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, context
from models.conditions import clip

KEY = 'config.condition'
NAMES = ('clip_l', 'clip_g')  # OpenAI's ViT-L/14 and OpenCLIP's ViT-bigG/14


def two_clips(module, projections: tuple[str, str]):
  """Both CLIPs of a module with the fields vocab, widths, depths, heads and dtype."""
  shared = dict(vocab=module.vocab, skip=1, dtype=module.dtype)
  acts, pads = clip.ACTS, (module.vocab - 1, 0)
  columns = (module.widths, module.depths, module.heads, acts, pads, projections, NAMES)
  return [clip.CLIP(width=width, depth=depth, heads=heads, act=act, pad=pad,
                    pooled=pooled, name=name, **shared)
          for width, depth, heads, act, pad, pooled, name in zip(*columns)]


def check_two(module, vocab: int, length: int, most: int | None):
  """Raises ValueError for fields of two CLIPs that make no sense, or tokens that have
  no place among `most`."""
  for name in ('widths', 'depths', 'heads'):
    checks.positive(module, KEY, name)
    if len(value := getattr(module, name)) != 2:
      raise ValueError(f'{KEY}.{name} is {value}; it needs two entries, of '
                       f'{" and ".join(NAMES)}.')
  for width, heads in zip(module.widths, module.heads):
    checks.divides(f'{KEY}.heads', heads, width, f'of {KEY}.widths')
  if min(module.depths) < 2:
    raise ValueError(f'{KEY}.depths is {module.depths}; the text is taken from the '
                     'block before the last, so that each is at least 2.')
  checks.tokens(module.vocab, vocab, length, most)


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

  def check(self, vocab: int, length: int):
    """Raises ValueError for fields that make no sense, or tokens with no place."""
    check_two(self, vocab, length, clip.CLIP.length)

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask, pooled [b e]."""
    small, large = (
        encoder(tokens) for encoder in two_clips(self, ('none', 'projection')))
    text, pooled = jnp.concatenate([small.text, large.text], -1), large.pooled
    if self.zeros:
      said = tokens[:, 1] != self.vocab - 1  # something stands between start and end
      text, pooled = text * said[:, None, None], pooled * said[:, None]
    return context.Context(text, small.mask, pooled)
