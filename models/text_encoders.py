"""Public text encoders side by side: those of Stable Diffusion XL and 3."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import check, clip, layers, t5

KEY = 'config.condition'
SIZE_FEATURES = 256  # sinusoids of each number
NAMES = ('clip_l', 'clip_g')  # OpenAI's ViT-L/14 and OpenCLIP's ViT-bigG/14


def two_clips(module, projections: tuple[str, str]):
  """Both CLIPs of a module with the fields vocab, widths, depths, heads and dtype."""
  shared = dict(vocab=module.vocab, skip=1, dtype=module.dtype)
  acts, pads = clip.ACTS, (module.vocab - 1, 0)
  columns = (module.widths, module.depths, module.heads, acts, pads, projections, NAMES)
  return [clip.CLIP(width=width, depth=depth, heads=heads, act=act, pad=pad,
                    pooled=pooled, name=name, **shared)
          for width, depth, heads, act, pad, pooled, name in zip(*columns)]


def check_two(module):
  """Raises ValueError for fields of two CLIPs that make no sense."""
  for name in ('widths', 'depths', 'heads'):
    check.positive(module, KEY, name)
    if len(value := getattr(module, name)) != 2:
      raise ValueError(f'{KEY}.{name} is {value}; it needs two entries, of '
                       f'{" and ".join(NAMES)}.')
  for width, heads in zip(module.widths, module.heads):
    check.divides(f'{KEY}.heads', heads, width, f'of {KEY}.widths')
  if min(module.depths) < 2:
    raise ValueError(f'{KEY}.depths is {module.depths}; the text is taken from the '
                     'block before the last, so that each is at least 2.')


class Clips(nn.Module):
  """Two CLIPs that read the same tokens, as in Stable Diffusion XL (arXiv:2307.01952).

  Attributes:
    vocab: number of tokens, of which the last one ends a caption.
    widths, depths, heads: of the two transformers.
    sizes: what the backbone is told of pictures beside the text: height and width
      before they were resized, the top and left of the cut, height and width now.
    zeros: the empty caption is zeros, text and pooled, in place of what the encoders
      make of it.
  """
  vocab: int = 49408
  widths: tuple[int, int] = (768, 1280)
  depths: tuple[int, int] = (12, 32)
  heads: tuple[int, int] = (12, 20)
  sizes: tuple[int, ...] = (1024, 1024, 0, 0, 1024, 1024)
  zeros: bool = True
  dtype: Any = jnp.float32

  def check(self):
    """Raises ValueError for fields that make no sense."""
    check_two(self)
    if len(self.sizes) != 6 or min(self.sizes) < 0:
      raise ValueError(f'{KEY}.sizes is {self.sizes}; it needs six entries from 0 on.')

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns (text [b l d], mask bool[b l], pooled [b e])."""
    (text_l, mask, _), (text_g, _, pooled) = (
        encoder(tokens) for encoder in two_clips(self, ('none', 'projection')))
    text = jnp.concatenate([text_l, text_g], -1)
    if self.zeros:
      said = tokens[:, 1] != self.vocab - 1  # something stands between start and end
      text, pooled = text * said[:, None, None], pooled * said[:, None]
    sizes = layers.sinusoids(jnp.array(self.sizes, jnp.float32), SIZE_FEATURES)
    sizes = jnp.broadcast_to(sizes.reshape(-1), (len(tokens), sizes.size))
    return text, mask, jnp.concatenate([pooled, sizes.astype(self.dtype)], -1)


class SD3(nn.Module):
  """Two CLIPs and T5 one after another, as in Stable Diffusion 3 (arXiv:2403.03206).

  Attributes:
    vocab, widths, depths, heads: of the CLIPs, as in Clips.
    clip_length: how many tokens, the first ones, are the CLIPs'; the others are T5's.
    t5_vocab, t5_width, t5_depth, t5_heads, t5_head_width, t5_hidden: of models/t5.py.
      The CLIPs' text is padded with zeros to T5's width.
  """
  vocab: int = 49408
  widths: tuple[int, int] = (768, 1280)
  depths: tuple[int, int] = (12, 32)
  heads: tuple[int, int] = (12, 20)
  clip_length: int = 77
  t5_vocab: int = 32128
  t5_width: int = 4096
  t5_depth: int = 24
  t5_heads: int = 64
  t5_head_width: int = 64
  t5_hidden: int = 10240
  dtype: Any = jnp.float32

  def check(self):
    """Raises ValueError for fields that make no sense."""
    check_two(self)
    check.positive(self, KEY, 't5_vocab', 't5_width', 't5_depth', 't5_heads',
                   't5_head_width', 't5_hidden')
    check.within(self, KEY, clip_length=clip.CLIP.length + 1)
    if self.t5_width < sum(self.widths):
      raise ValueError(f'{KEY}.t5_width is {self.t5_width}; the text of both CLIPs, '
                       f'{sum(self.widths)} wide, does not fit.')

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns (text [b l d], mask bool[b l], pooled [b e])."""
    tokens, more = jnp.split(tokens, [self.clip_length], 1)
    (text_l, seen, pooled_l), (text_g, _, pooled_g) = (
        encoder(tokens) for encoder in two_clips(self, ('projection', 'projection')))
    text = jnp.concatenate([text_l, text_g], -1)
    text = jnp.pad(text, ((0, 0), (0, 0), (0, self.t5_width - text.shape[-1])))
    more, more_seen, _ = t5.T5(
        self.t5_vocab, self.t5_width, self.t5_depth, self.t5_heads, self.t5_head_width,
        self.t5_hidden, masked=False, dtype=self.dtype, name='t5')(more)
    return (jnp.concatenate([text, more], 1), jnp.concatenate([seen, more_seen], 1),
            jnp.concatenate([pooled_l, pooled_g], -1))
