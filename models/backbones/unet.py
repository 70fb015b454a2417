"""One U-Net: DDPM, improved DDPM, ADM, DDPM++, NCSN++ and Stable Diffusion's.

Where they differ is an option of UNet. configs/papers/ spells each of them out.
"""
import functools

from flax import linen as nn
import jax.numpy as jnp
import numpy as np

from models import checks, layers
from models.backbones import backbone, unet_blocks

class UNet(backbone.Backbone):
  """Predicts the diffusion target of a noised picture.

  Attributes:
    width: channels by which the others count.
    channel_mult: width of each level as a multiple of `width`; each level halves the
      size.
    num_res_blocks: residual blocks a level on the way down; one more on the way up.
    attention: how many attention blocks follow each residual block of a level, as many
      entries as `channel_mult`. mid_attention: the same, between the two blocks of the
      middle.
    attention_type: 'self', to the picture alone (arXiv:2006.11239); 'spatial',
      transformers that see the text, as in Stable Diffusion; 'transformer', the same
      without projections, each part starting as the identity.
    heads: of attention; 0 to give each `head_width` channels.
    qk_norm: normalise queries and keys.
    patch: space-to-depth at the input: the first level works at size / patch.
    positions: add a learned map of places at the input.
    groups, eps: of group normalisation.
    shown: what it sees beside the noised picture, concatenated to it: 'nothing';
      'masked', a mask and the latents of what it leaves, to paint in it; 'picture',
      latents of one that is to be changed (arXiv:2211.09800).
    stem_channels: of the first convolution; 0 for `width`.
    time_embedding: of layers.FEATURES, `time_channels` of them; 0 for `width`.
    guidance_features: of the scale of guidance, by a layer of their own, added to those
      of time: 256 in latent consistency models (arXiv:2310.04378); 0 for none. It goes
      with scalars=('guidance',).
    pooled_into: where the summary of the condition goes. 'after': added to the
      embedding of time; 'before': added to its features; 'mlp': as 'after', through an
      MLP.
    size_features: sinusoids of each of the six sizes, which join the summary: 256 in
      SDXL; 0 for not being told of sizes.
    scored: of the sizes it is told the first four, and then how much the picture is to
      please, as SDXL's refiner.
    augment_labels: how many numbers tell how a picture was changed, 9 or none: they
      join the features of time by a layer of their own.
    scale_shift: the condition scales too, in place of adding alone.
    resblock_updown: resample by residual blocks, through `resample_filter`, in place of
      convolutions, which on the way down have zeros before and after the picture as
      `pad` says.
    skip_rescale: as in arXiv:2011.13456: residuals divided by sqrt(2), projections
      where blocks resample, attention on the way up only after the last block of a
      level.
    input_skips: add the picture, through convolutions, at every level, as in NCSN++.
    dropout: share of activations in residual blocks, where the caller gives its rng.
  """
  channels: int = 3
  out_channels: int = 0
  width: int = 128
  channel_mult: tuple[float, ...] = (1, 2)
  num_res_blocks: int = 2
  attention: tuple[int, ...] = (1, 1)
  mid_attention: int = 1
  attention_type: str = 'transformer'
  heads: int = 0
  head_width: int = 32
  qk_norm: bool = False
  patch: int = 1
  positions: bool = False
  groups: int = 32
  eps: float = 1e-6
  shown: str = 'nothing'
  stem_channels: int = 0
  time_embedding: str = 'sinusoids'
  time_channels: int = 0
  guidance_features: int = 0
  pooled_into: str = 'after'
  size_features: int = 0
  scored: bool = False
  augment_labels: int = 0
  scale_shift: bool = True
  resblock_updown: bool = False
  pad: tuple[int, int] = (0, 1)
  resample_filter: tuple[int, ...] = (1, 1)
  skip_rescale: bool = False
  input_skips: bool = False
  dropout: float = 0.0
  shares = ('dropout',)
  positive = ('width', 'channel_mult', 'num_res_blocks', 'head_width', 'patch',
              'groups')
  choices = backbone.Backbone.choices | dict(
      attention_type=('self', 'spatial', 'transformer'), augment_labels=(0, 9),
      time_embedding=layers.FEATURES, pooled_into=('after', 'before', 'mlp'),
      shown=('nothing', 'masked', 'picture'))
  any_size = property(lambda self: not self.positions)  # a map with an entry a place
  beside = property(lambda self: {'nothing': 0, 'masked': self.channels + 1,
                                  'picture': self.channels}[self.shown])
  needs = property(lambda self: frozenset(
      ['sizes'] * bool(self.size_features) + ['beside'] * bool(self.beside)
      + ['score'] * self.scored))

  @property
  def reads(self):
    """A text where its attention sees one."""
    sees_text = self.attention_type != 'self' and any((*self.attention,
                                                       self.mid_attention))
    return self.needs | frozenset(['pooled'] + ['text', 'mask'] * sees_text
                                  + ['augment'] * bool(self.augment_labels))

  def run(self, x, scalars, context, taps):
    added = self.added(x, scalars, context)
    if self.beside:
      x = jnp.concatenate([x, context.beside], -1)
    x, picture = self.first(x)
    x = unet_blocks.hourglass(
        self, x, self.block_of(scalars, context, picture),
        lambda x, skip: jnp.concatenate([x, skip], -1), self.mid_attention,
        always=not self.skip_rescale, added=added)
    x = nn.silu(layers.Norm(self.groups, eps=self.eps, name='norm_out')(x))
    out = self.out_channels or self.channels
    x = nn.Conv(out * self.patch**2, (3, 3), dtype=jnp.float32, name='out',
                kernel_init=nn.initializers.zeros)(x)
    return layers.depth_to_space(x, self.patch), {}

  def first(self, x):
    """(what the first level works on, [b h/patch w/patch d]; the picture as it sees
    it)."""
    picture = layers.space_to_depth(x.astype(self.dtype), self.patch)
    x = self.conv('in', self.stem_channels or self.width, picture)
    if self.positions:
      x = x + self.param('positions', nn.initializers.normal(0.02),
                         x.shape[1:]).astype(x.dtype)
    return x, picture

  def added(self, x, scalars, context):
    """What another network adds on the way down and in the middle, or None."""
    return None

  def block_of(self, scalars, context, picture):
    """The blocks of unet_blocks.hourglass. picture: what came in, for input_skips."""
    c = self.condition(scalars, context)
    def block(name, x, width, depth, up=False, way='same'):
      nonlocal picture
      if way == 'same':
        x = self.res_block(name, width, x, c)
        return self.attend(name, depth, x, context.text, context.mask) if depth else x
      x = self.resize(name, x, c, way)
      if self.input_skips and way == 'down':
        picture = x = self.with_input(name.replace(way, 'input'), x, picture)
      return x
    return block

  def check(self, size):
    checks.levels(self, 'groups', 'heads' if self.heads else 'head_width')
    if self.attention_type == 'self' and max(*self.attention, self.mid_attention) > 1:
      raise ValueError(
          f'config.model.attention is {self.attention} and config.model.mid_attention '
          f'{self.mid_attention}; with attention_type=self each is 0 or 1.')
    told = not self.guidance_features or 'guidance' in self.scalars
    checks.require(told and self.guidance_features not in (1, 2, 3),
                   'config.model.guidance_features', self.guidance_features,
                   "it is 0, or 4 or more with config.model.scalars=('guidance',).")
    checks.multiple(size, self.patch * 2 ** (len(self.channel_mult) - 1),
                    'patch times 2 for each level but the first')

  def conv(self, name, width, x, **kwargs):
    return nn.Conv(width, (3, 3), dtype=self.dtype, name=name, **kwargs)(x)

  def condition(self, scalars, context):
    """What modulates the blocks: [b 4 width]."""
    wide, pooled = 4 * self.width, self.summary(context)
    into = None if pooled is None else self.pooled_into
    def dense(name, width, y, bias=False):
      return nn.Dense(width, use_bias=bias, dtype=self.dtype, name=name)(y)
    def embed(waves):
      n, told = waves.shape[-1], context.augment
      if self.guidance_features:
        scale = layers.FEATURES['ddpm'](1000 * (scalars.guidance - 1),
                                        self.guidance_features)
        waves = waves + dense('guidance', n, scale)
      if self.augment_labels:
        told = jnp.zeros((len(waves), self.augment_labels)) if told is None else told
        waves = waves + dense('labels', n, told)
      if into == 'before':
        waves = waves + dense('pooled', n, pooled * np.sqrt(pooled.shape[-1]), True)
      return self.silu_mlp('time', wide)(waves)
    features = functools.partial(layers.FEATURES[self.time_embedding],
                                 width=self.time_channels or self.width)
    told = self.scalars if not self.guidance_features else tuple(
        name for name in self.scalars if name != 'guidance')
    c = self.embed(scalars, features, embed, told)
    if into == 'after':
      c = c + dense('pooled', wide, pooled)
    if into == 'mlp':
      c = c + self.silu_mlp('pooled', wide)(pooled)
    return c

  def summary(self, context):
    """The summary of the condition and, behind it, sinusoids of the sizes: [b e]."""
    if not self.size_features:
      return context.pooled
    told = context.sizes
    if self.scored:
      told = jnp.concatenate([told[:, :4], context.score[:, None]], 1)
    sizes = layers.sinusoids(told, self.size_features)  # [b 6 f], or 5
    sizes = sizes.reshape(len(sizes), -1).astype(self.dtype)
    return jnp.concatenate([y for y in (context.pooled, sizes) if y is not None], -1)

  def res_block(self, name, width, x, c, **kwargs):
    block = unet_blocks.ResBlock(
        width, self.groups, self.eps, self.scale_shift, self.dropout, self.skip_rescale,
        self.dtype, resample_filter=self.resample_filter, name=name, **kwargs)
    return layers.remat(block, self.remat, x, c)

  def attend(self, name, depth, x, text, mask):
    heads = self.heads or max(1, x.shape[-1] // self.head_width)
    name = f'{name}_attention'
    if self.attention_type == 'self':
      block = unet_blocks.SelfAttention(heads, self.groups, self.eps, self.qk_norm,
                                        self.skip_rescale, self.dtype, name=name)
      return layers.remat(block, self.remat, x, text, mask)
    return unet_blocks.Transformer(
        depth, heads, self.groups, self.attention_type == 'spatial', self.qk_norm,
        self.remat, self.dtype, name=name)(x, text, mask)

  def resize(self, name, x, c, way):
    width = x.shape[-1]
    if self.resblock_updown:
      return self.res_block(name, width, x, c, way=way)
    if way == 'up':
      return self.conv(name, width, layers.upsample(x))
    return self.conv(name, width, x, strides=(2, 2), padding=(self.pad, self.pad))

  def with_input(self, name, x, picture):
    """x [b h w d] and, halved, the picture [b 2h 2w e] that it came from."""
    edge = 1 + (len(self.resample_filter) - 1) // 2  # the filter sees beyond, too
    y = self.conv(name, x.shape[-1], picture, padding=edge)
    y = layers.resample(y, 'down', self.resample_filter, pad=0)
    return (x + y) * unet_blocks.HALF
