"""Guidance: transforms of a denoiser, denoise -> denoise."""
import jax
import jax.numpy as jnp


def guided(denoise, context, null, scale):
  """Classifier-free guidance, arXiv:2207.12598 eq. 6, in one evaluation of 2b pictures.

  Args:
    denoise: (x [b h w c], t f32[], context) -> x0.
    context, null: trees of arrays [b ...]: what to draw, and what to move away from
      (the empty prompt, or a negative one).
    scale: 1 follows the prompt alone; more exaggerates what the prompt changes.

  Returns:
    denoise(x, t) -> null + scale (context - null), each the x0 that it leads to.
  """
  both = jax.tree.map(lambda *parts: jnp.concatenate(parts), context, null)
  def denoise_guided(x, t):
    with_prompt, without = jnp.split(denoise(jnp.concatenate([x, x]), t, both), 2)
    return without + scale * (with_prompt - without)
  return denoise_guided


def clipped(denoise, bound: float = 1.0):
  """Keeps x0 in [-bound, bound], as pictures are (arXiv:2006.11239, section 3.2)."""
  return lambda x, t: jnp.clip(denoise(x, t), -bound, bound)
