"""T5's encoder (arXiv:1910.10683) in its version 1.1 (arXiv:2002.05202)."""
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from models import checks, context, layers

EPS = 1e-6  # of normalisation
BUCKETS = 32  # of distances: half of them back, half forward


def buckets(length: int):
  """Which bucket the way from query i to key j falls into: int[length length].

  Up to 7 tokens away each distance has its own; from 8 on there are two for each
  doubling, up to 90.5; the last takes all beyond.
  """
  places = np.arange(length)
  way = places - places[:, None]
  far = np.floor(2 * np.log2(np.maximum(abs(way), 8) / 8))
  bucket = np.where(abs(way) < 8, abs(way), np.minimum(8 + far, BUCKETS // 2 - 1))
  return (bucket + BUCKETS // 2 * (way > 0)).astype(np.int32)


class Attention(nn.Module):
  """Attention whose logits are not divided, but have a bias by distance added."""
  heads: int
  head_width: int
  dtype: Any

  @nn.compact
  def __call__(self, x, bias, mask):
    """x: [b l d]. bias: f32[1 heads l l]. mask: bool[b l]. Returns [b l d]."""
    q, k, v = (nn.DenseGeneral((self.heads, self.head_width), use_bias=False,
                               dtype=self.dtype, name=name)(x) for name in 'qkv')
    y = jax.nn.dot_product_attention(q, k, v, bias, mask[:, None, None], scale=1.0)
    return nn.DenseGeneral(x.shape[-1], axis=(-2, -1), use_bias=False, dtype=self.dtype,
                           name='out')(y)


class Block(nn.Module):
  """Attention and a gated MLP, each a residual behind its normalisation."""
  heads: int
  head_width: int
  hidden: int
  dtype: Any

  @nn.compact
  def __call__(self, x, bias, mask):
    """x: [b l d]. bias: f32[1 heads l l]. mask: bool[b l]. Returns [b l d]."""
    x = x + Attention(self.heads, self.head_width, self.dtype, name='attention')(
        rms('norm_1', x), bias, mask)
    return x + layers.MLP(self.hidden, gated=True, bias=False, dtype=self.dtype,
                          name='mlp')(rms('norm_2', x))


def rms(name: str, x):
  """x over its root mean square, in float32; the layer is made in the caller's."""
  return nn.RMSNorm(EPS, dtype=jnp.float32, name=name)(x).astype(x.dtype)


class T5(nn.Module):
  """A bidirectional transformer over the tokens of a caption. The defaults are XXL's.

  Attributes:
    vocab: number of tokens; id 0 pads.
    width, depth, heads: of the transformer.
    head_width: of each head; all of them need not make the width.
    hidden: width of the MLPs between their layers.
    masked: padding is not seen, here and by who reads the text. Stable Diffusion 3
      sees it.
  """
  vocab: int = 32128
  width: int = 4096
  depth: int = 24
  heads: int = 64
  head_width: int = 64
  hidden: int = 10240
  masked: bool = True
  dtype: Any = jnp.float32
  gives = frozenset({'text', 'mask'})
  positive = ('vocab', 'width', 'depth', 'heads', 'head_width', 'hidden')

  def check(self, vocab: int, length: int):
    checks.tokens(self.vocab, vocab)

  @nn.compact
  def __call__(self, tokens):
    """tokens: int32[b l]. Returns the Context: text [b l d], mask bool[b l]."""
    b, l = tokens.shape
    mask = tokens != 0 if self.masked else jnp.ones((b, l), bool)
    x = nn.Embed(self.vocab, self.width, embedding_init=nn.initializers.normal(1.0),
                 name='embed')(tokens).astype(self.dtype)
    bias = nn.Embed(BUCKETS, self.heads, name='distances')(buckets(l))  # [l l heads]
    block = Block(self.heads, self.head_width, self.hidden, self.dtype, name='blocks')
    x, _ = layers.repeat([(block, self.depth)], 'none', x,
                         bias.transpose(2, 0, 1)[None], mask)
    return context.Context(rms('norm', x), mask)
