"""CLIP's text encoders (arXiv:2103.00020), OpenAI's and OpenCLIP's."""
from typing import Any

from flax import linen as nn
import jax.numpy as jnp

from models import attention, checks, context, layers

ACTS = ('quick_gelu', 'gelu')


class Block(nn.Module):
  """Causal attention and an MLP, each a residual behind its normalisation."""
  heads: int
  act: str
  dtype: Any

  @nn.compact
  def __call__(self, states):
    """What the blocks before gave, [b l d] each, the last one first: as many, its own
    in front."""
    x = states[0]
    def norm(i):
      return layers.Norm(eps=1e-5, name=f'norm_{i}')(x)
    x = x + attention.Attention(self.heads, bias=True, causal=True, dtype=self.dtype,
                                name='attention')(norm(1))
    x = x + layers.MLP(4 * x.shape[-1], act=self.act, dtype=self.dtype, name='mlp')(
        norm(2))
    return (x, *states[:-1])


class CLIP(nn.Module):
  """A causal transformer over the tokens of a caption.

  The defaults are ViT-L/14's as in Stable Diffusion 1. OpenCLIP's ViT-H as in 2:
  width=1024, depth=23, heads=16, act='gelu', pad=0; its ViT-bigG as in XL: width=1280,
  depth=32, heads=20, act='gelu', pad=0, skip=1, pooled='projection'.

  Attributes:
    vocab: number of tokens.
    end: the one that ends a caption; 0 for the last of them.
    length: most tokens of a caption.
    width, depth, heads: of the transformer.
    act: of the MLPs: 'quick_gelu' (OpenAI's) or 'gelu' (OpenCLIP's).
    pad: the token that stands after the last end where it was trained. Ours have 0
      there.
    skip: the text is what the last block but `skip` gives; but for 0, not normalised.
    added: tokens that are learned beside the table.
    pooled: the summary of a caption: 'none'; 'end', the last block's state, normalised,
      where the caption first ends; 'projection', that one projected to where pictures
      are.
  """
  vocab: int = 49408
  length: int = 77
  width: int = 768
  depth: int = 12
  heads: int = 12
  act: str = 'quick_gelu'
  pad: int = 49407
  end: int = 0
  skip: int = 0
  pooled: str = 'none'
  added: int = 0
  dtype: Any = jnp.float32
  positive = ('width', 'depth', 'heads')
  choices = dict(act=ACTS, pooled=('none', 'end', 'projection'))
  gives = property(lambda self: frozenset(
      ['text', 'mask'] + ['pooled'] * (self.pooled != 'none')))

  def check(self, vocab: int, length: int):
    checks.heads(self, 'config.condition')
    checks.within(self, skip=self.depth, pad=self.vocab, end=self.vocab)
    checks.tokens(self.vocab, vocab, length, self.length)

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask, pooled [b d].

    The mask is all True: Stable Diffusion was trained attending to padding.
    """
    b, l = tokens.shape
    ends = tokens == (self.end or self.vocab - 1)
    after = jnp.cumsum(ends[:, ::-1], 1)[:, ::-1] == 0
    x = layers.Embed(self.vocab, self.width, 0.02, self.added, name='embed')(
        jnp.where(after, self.pad, tokens))
    x = x + self.param('positions', nn.initializers.normal(0.01),
                       (self.length, self.width))[:l]
    block = Block(self.heads, self.act, self.dtype, name='blocks')
    states, _ = layers.repeat([(block, self.depth)], 'none',
                              (x.astype(self.dtype),) * (self.skip + 1))
    last = layers.Norm(eps=1e-5, name='norm')(states[0])
    text = states[self.skip] if self.skip else last
    pooled = None if self.pooled == 'none' else jnp.take_along_axis(
        last, ends.argmax(1)[:, None, None], 1)[:, 0]
    if self.pooled == 'projection':
      pooled = nn.Dense(self.width, use_bias=False, dtype=self.dtype,
                        name='projection')(pooled)
    return context.Context(text, jnp.ones((b, l), bool), pooled)
