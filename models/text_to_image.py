"""Condition and picture model as one module, so that they train as one."""
from flax import linen as nn


class TextToImage(nn.Module):
  """The two modules; `encode` runs once a prompt, the rest every step.

  Attributes:
    uncertainty: layers.Uncertainty, where it is learned beside; for training alone.
  """
  text_encoder: nn.Module
  backbone: nn.Module
  uncertainty: nn.Module | None = None

  def encode(self, tokens):
    """tokens: int32[b l]. Returns the context (text [b l d], mask, pooled [b d])."""
    return self.text_encoder(tokens)

  def predict(self, x, t, context):
    """x: [b h w c]. t: f32[b]. Returns the diffusion target, f32[b h w c].

    What a backbone predicts beyond it, as a learned variance, is left out.
    """
    return self.backbone(x, t, *context)[..., :x.shape[-1]]

  def doubt(self, log_snr):
    """log_snr: f32[b]. Returns how uncertain predictions are there, f32[b]."""
    return self.uncertainty(log_snr)

  def __call__(self, x, t, tokens):
    if self.uncertainty is not None:
      self.doubt(t)
    return self.predict(x, t, self.encode(tokens))
