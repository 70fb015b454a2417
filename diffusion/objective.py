"""The training loss, given the noise and the time that were drawn."""
import jax.numpy as jnp

from diffusion import process

def min_snr(alpha, sigma, gamma=5.0):
  """min(SNR, gamma) in x0 space, whatever the target: arXiv:2303.09556 eq. 8."""
  return jnp.minimum(jnp.square(alpha / sigma), gamma)


# Names of weights of |x0 - x0'|^2. That of a target ('x0', 'eps', 'v', 'flow') makes
# the loss the plain mean square of that target, whatever the network predicts.
WEIGHTS = {'min_snr': min_snr} | {
    kind: (lambda alpha, sigma, kind=kind: process.x0_weight(kind, alpha, sigma))
    for kind in process.ROWS}


def loss(predict, schedule, kind: str, weight, x0, t, eps):
  """The weighted mean square error of each picture, f32[b].

  Args:
    predict: (x_t [b h w c], t f32[b]) -> prediction of the target `kind`.
    schedule: t -> (alpha, sigma).
    weight: (alpha, sigma) -> weight of the square error of x0, f32[b].
    x0: pictures f32[b h w c] in [-1, 1].
    t: f32[b] in (0, 1).
    eps: standard normal, like x0.
  """
  alpha, sigma = schedule(t)
  pred = predict(process.add_noise(x0, eps, alpha, sigma), t).astype(jnp.float32)
  error = jnp.square(pred - process.target(kind, x0, eps, alpha, sigma))
  scale = weight(alpha, sigma) / process.x0_weight(kind, alpha, sigma)
  return scale * error.mean(tuple(range(1, x0.ndim)))
