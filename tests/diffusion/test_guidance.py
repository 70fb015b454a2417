"""Guidance is a line through two predictions."""
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import guidance

X = jnp.linspace(-1, 1, 12).reshape(2, 2, 3, 1)


def denoise(x, t, context):
  return x * t + context[:, None, None, None]


@pytest.mark.parametrize('scale', [0.0, 1.0, 3.0])
def test_moves_from_the_null_prompt_through_the_prompt(scale):
  context, null = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
  t = jnp.float32(0.7)
  got = guidance.guided(denoise, context, null, scale)(X, t)
  a, b = denoise(X, t, context), denoise(X, t, null)
  np.testing.assert_allclose(got, b + scale * (a - b), atol=1e-6)


def test_clips_what_it_wraps():
  got = guidance.clipped(lambda x, t: 3 * x, 1.0)(X, 0.5)
  np.testing.assert_allclose(got, np.clip(3 * X, -1, 1))
