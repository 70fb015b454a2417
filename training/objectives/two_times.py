"""What objectives of maps from one time to an earlier one have in common.

A network that is told t and s, s <= t, gives the mean velocity between them along the
path of the ODE, arXiv:2505.13447 eq. 3, on the straight path x_t = (1 - t) x0 + t eps:

  (1)  u(x_t, t, s) = 1 / (t - s) int_s^t v(x_r, r) dr,   x_s = x_t - (t - s) u

At s = t it is the velocity v itself; solver flow_map takes the step of (1).
"""
import jax
import jax.numpy as jnp

from diffusion import process, schedules
from training.objectives import objective
from training.objectives.objective import Given


def check(given: Given):
  """Raises ValueError where the network is not told s, or paths are not straight."""
  if 's' not in given.module.scalars:
    raise ValueError("the network is not told the time that it goes to: it takes "
                     "config.model.scalars=('s',).")
  for t in (0.25, 0.5):
    if schedules.static_at(given.process.schedule, t) != (1 - t, t):
      raise ValueError('its paths are straight: it takes config.diffusion.schedule='
                       "'flow'.")


def mean_velocity(given: Given, params, context, dropout_keys=None):
  """(x [b h w c], t f32[b], s f32[b]) -> u of eq. (1), whatever the network predicts.
  """
  def velocity(x, t, s):
    predict = objective.predictor(given, params, context, dropout_keys, s=s)
    pred, _ = process.split_variance(predict(x, t).astype(jnp.float32), x)
    return process.convert(given.process.target, process.flow, pred, x,
                           *given.process.schedule(t))
  return velocity


def draw_two(given: Given, share: float, key, shape, loss_ema, progress) -> dict:
  """What draw_inputs gives, and 's' f32[b], below t in a share of the pictures.

  There t and s are the larger and the smaller of two times; elsewhere s is t.
  """
  drawn = objective.draw_inputs(given, key, shape, loss_ema, progress)
  again, order, which = jax.random.split(jax.random.fold_in(key, 1), 3)
  other, _ = given.sample_times(again, shape[0], loss_ema)
  other = jax.random.permutation(order, other)
  t = jnp.maximum(drawn['t'], other)
  apart = jax.random.uniform(which, shape[:1]) < share
  return drawn | {'t': jnp.where(apart, t, drawn['t']),
                  's': jnp.where(apart, jnp.minimum(drawn['t'], other), drawn['t'])}
