"""Condition, picture model and autoencoder as one module, so that they train as one."""
from flax import linen as nn
import jax.numpy as jnp


class TextToImage(nn.Module):
  """The modules; `encode` runs once a prompt, `predict` every step of sampling.

  Attributes:
    autoencoder: of models/autoencoder.py, between pictures and what is noised.
    uncertainty: layers.Uncertainty, where it is learned beside; for training alone.
  """
  text_encoder: nn.Module
  backbone: nn.Module
  autoencoder: nn.Module
  uncertainty: nn.Module | None = None

  def latent_shape(self, size: int):
    """What is noised and predicted of pictures of size x size: (h, w, c)."""
    side = size // self.autoencoder.factor
    return side, side, self.autoencoder.channels

  def to_latents(self, x, eps=None):
    """x: f32[b h w 3] in [-1, 1]. eps: f32[b *latent_shape] of a normal, for a latent
    by chance; None for its mean. Returns f32[b *latent_shape]."""
    return self.autoencoder.encode(x, eps)

  def to_pixels(self, z):
    """The way back: z: f32[b *latent_shape]. Returns f32[b h w 3]."""
    return self.autoencoder.decode(z)

  def encode(self, tokens):
    """tokens: int32[b l]. Returns the context (text [b l d], mask, pooled [b d])."""
    return self.text_encoder(tokens)

  @property
  def learns_variance(self) -> bool:
    """Whether `predict` returns one beyond the target, from -1 to 1."""
    return getattr(self.backbone, 'out', 0) == 2 * self.autoencoder.channels

  def predict(self, x, t, context, labels=None):
    """x: [b *latent_shape]. t: f32[b]. Returns the diffusion target, like x, and what
    channels the backbone has beyond it.

    labels: f32[b labels], how the picture was changed, for a backbone that takes them;
    None for not at all.
    """
    text, mask, pooled = context
    if n := getattr(self.backbone, 'labels', 0):
      labels = jnp.zeros((len(x), n)) if labels is None else labels
      pooled = jnp.concatenate([pooled, labels.astype(pooled.dtype)], -1)
    return self.backbone(x, t, text, mask, pooled)

  def doubt(self, log_snr):
    """log_snr: f32[b]. Returns how uncertain predictions are there, f32[b]."""
    return self.uncertainty(log_snr)

  def __call__(self, x, t, tokens):
    """Every part once: pictures f32[b h w 3], t f32[b], int32[b l]."""
    x = self.to_latents(x)
    self.to_pixels(x)
    if self.uncertainty is not None:
      self.doubt(t)
    return self.predict(x, t, self.encode(tokens))
