"""Two CLIPs and T5, the text encoder of Stable Diffusion 3: arXiv:2403.03206."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import checks, context
from models.conditions import clip, sdxl, t5


class SD3(nn.Module):
  """Two CLIPs and T5 one after another, as in Stable Diffusion 3 (arXiv:2403.03206).

  Attributes:
    vocab, end, pads, separate, widths, depths, heads: of the CLIPs, as in SDXLText.
    clip_length: how many tokens, the first ones, are a CLIP's; the others are T5's.
    t5_vocab, t5_width, t5_depth, t5_heads, t5_head_width, t5_hidden: of t5.T5. The
      CLIPs' text is padded with zeros to T5's width. Without T5, t5_depth=0, zeros
      stand in its place, t5_length of them.
  """
  vocab: int = 49408
  widths: tuple[int, int] = (768, 1280)
  depths: tuple[int, int] = (12, 32)
  heads: tuple[int, int] = (12, 20)
  end: int = 0
  pads: tuple[int, ...] = ()
  separate: bool = False
  clip_length: int = 77
  t5_vocab: int = 32128
  t5_width: int = 4096
  t5_depth: int = 24
  t5_heads: int = 64
  t5_head_width: int = 64
  t5_hidden: int = 10240
  t5_length: int = 256
  dtype: Any = jnp.float32
  gives = frozenset({'text', 'mask', 'pooled'})
  positive = ('widths', 'depths', 'heads', 'clip_length', 't5_vocab', 't5_width',
              't5_heads', 't5_head_width', 't5_hidden', 't5_length')

  def check(self, vocab: int, length: int):
    sdxl.check_two(self, vocab)
    checks.within(self, clip_length=clip.CLIP.length + 1)
    checks.require(self.t5_width >= sum(self.widths), 'config.condition.t5_width',
                   self.t5_width, f'the text of both CLIPs, {sum(self.widths)} wide, '
                   'does not fit.')
    clips = self.clip_length * (1 + self.separate)
    checks.require(length > clips if self.t5_depth else length == clips,
                   'config.tokenizer.length', length,
                   f'{clips} are of the CLIPs (config.condition.clip_length), and '
                   + ('more of T5.' if self.t5_depth else 'there is no T5.'))

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask, pooled [b e]."""
    tokens, more = jnp.split(tokens, [self.clip_length * (1 + self.separate)], 1)
    small, large = sdxl.both(sdxl.two_clips(self, 'projection', 'projection'), tokens,
                             self.separate)
    text = jnp.concatenate([small.text, large.text], -1)
    text = jnp.pad(text, ((0, 0), (0, 0), (0, self.t5_width - text.shape[-1])))
    pooled = jnp.concatenate([small.pooled, large.pooled], -1)
    if self.t5_depth:
      more = t5.T5(
          self.t5_vocab, self.t5_width, self.t5_depth, self.t5_heads,
          self.t5_head_width, self.t5_hidden, masked=False, dtype=self.dtype,
          name='t5')(more)
    else:
      shape = len(text), self.t5_length
      more = context.Context(jnp.zeros((*shape, self.t5_width), text.dtype),
                             jnp.ones(shape, bool))
    return context.Context(jnp.concatenate([text, more.text], 1),
                           jnp.concatenate([small.mask, more.mask], 1), pooled)
