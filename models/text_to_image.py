"""Condition, picture model and autoencoder as one module, so that they train as one."""
import operator

from flax import linen as nn
import jax
import jax.numpy as jnp

from models import checks, context, placement


class Uncertainty(nn.Module):
  """The log variance u of a loss, a function of log-SNR: arXiv:2312.02696 section C.2.

  One linear layer on fixed random waves of EDM's c_noise, ln(sigma / alpha) / 4; zero
  at first.
  """
  width: int = 128

  @nn.compact
  def __call__(self, log_snr):
    """log_snr: f32[b]. Returns f32[b]."""
    rates, turns = jax.random.normal(jax.random.key(0), (2, self.width))
    waves = jnp.cos(2 * jnp.pi * (-log_snr[:, None] / 8 * rates + turns))
    return nn.Dense(1, use_bias=False, kernel_init=nn.initializers.zeros,
                    name='out')(waves)[:, 0]


class TextToImage(nn.Module):
  """The modules; `encode` runs once a prompt, `predict` every step of sampling.

  Sizes are (height, width) in pixels. uncertainty: of the loss, where it is learned
  beside; for training alone.
  """
  text_encoder: nn.Module
  backbone: nn.Module
  autoencoder: nn.Module
  uncertainty: nn.Module | None = None

  def check(self, size):
    """Raises ValueError where pictures of that size have no place in the modules."""
    checks.multiple(size, self.autoencoder.factor, 'of what is one latent')
    self.backbone.check(self.latent_shape(size)[:2])

  def latent_shape(self, size):
    """What is noised and predicted of pictures of that size: (h', w', c)."""
    height, width = (side // self.autoencoder.factor for side in size)
    return height, width, self.autoencoder.channels

  def moments(self, x):
    """f32[b h' w' m], all that `draw_latents` needs of x: f32[b h w c] in [-1, 1]."""
    return self.autoencoder.moments(x)

  def draw_latents(self, moments, eps=None):
    """f32[b *latent_shape], drawn by eps: the same of a normal; None for the mean."""
    return placement.split_batch(self.autoencoder.draw(moments, eps))

  def to_latents(self, x, eps=None):
    """f32[b h w c] in [-1, 1] to f32[b *latent_shape]: both of the above."""
    return self.draw_latents(self.moments(x), eps)

  def to_pixels(self, z):
    """The way back: f32[b *latent_shape] to f32[b h w c]."""
    return self.autoencoder.decode(z)

  def encode(self, tokens, sizes=None) -> context.Context:
    """tokens: int32[b l]. sizes: f32[b 6] as in Context, or None."""
    return self.text_encoder(tokens).replace(sizes=sizes)

  @property
  def learns_variance(self) -> bool:
    """Whether `predict` returns one beyond the target, from -1 to 1."""
    return self.backbone.out_channels == 2 * self.autoencoder.channels

  def check_variance(self, why: str):
    """Raises ValueError, which says why one is needed, where none is predicted."""
    if not self.learns_variance:
      raise ValueError(
          f'{why}; the network predicts no variance: it takes '
          f'config.model.out_channels={2 * self.autoencoder.channels}, of a unet or a '
          'dit.')

  # What the backbone declares, as there.
  any_size, scalars, num_taps, augment_labels = (
      property(operator.attrgetter(f'backbone.{name}'))
      for name in ('any_size', 'scalars', 'num_taps', 'augment_labels'))

  @property
  def optional_params(self) -> str:
    """A regex of parameters that other weights may lack: those that embed Scalars
    beyond t, without effect at first, tokens that are learned, and a ControlNet."""
    return (f'(.*/)?({"|".join(self.scalars) or "-"})/(up|down)/(kernel|bias)|'
            '(.*/)?embed/new|(backbone/)?control(/.*)?')

  def predict(self, x, scalars, context, taps=()):
    """The diffusion target of x [b *latent_shape], and what is learned beyond it.

    Returns f32[b h' w' out]; with taps, indices of blocks, as in Backbone.
    """
    return self.backbone(x, scalars, context, taps)

  def log_variance(self, log_snr):
    """The learned log variance of the loss at log_snr f32[b]: f32[b]."""
    return self.uncertainty(log_snr)

  def __call__(self, x, scalars, tokens, sizes=None):
    """Every part once, for `init`."""
    control, x = x, self.to_latents(x)
    self.to_pixels(x)
    if self.uncertainty is not None:
      self.log_variance(scalars.t)
    told = self.encode(tokens, sizes)
    if self.backbone.beside:
      told = told.replace(beside=jnp.zeros((*x.shape[:3], self.backbone.beside)))
    if 'score' in self.backbone.needs:
      told = told.replace(score=jnp.zeros(len(x)))
    if 'control' in self.backbone.needs:
      told = told.replace(control=control)
    return self.predict(x, scalars, told)


def init_params(module, key, size, length: int):
  """Fresh parameters of a TextToImage, f32. Slow unless it is compiled.

  size: height and width of pictures in pixels. length: tokens of a caption.
  """
  channels = module.autoencoder.image_channels
  scalars = context.Scalars(*[jnp.zeros(1)] * len(context.Scalars._fields))
  return module.init(key, jnp.zeros((1, *size, channels)), scalars,
                     jnp.ones((1, length), jnp.int32), jnp.ones((1, 6)))['params']


def param_shapes(module, size, length: int):
  """Shapes of the parameters, without making them."""
  return jax.eval_shape(lambda key: init_params(module, key, size, length),
                        jax.random.key(0))
