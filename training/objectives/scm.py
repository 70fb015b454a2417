"""sCM: consistency training in continuous time, on TrigFlow's circle."""
import functools

import jax
import jax.numpy as jnp

from diffusion import process, schedules, specs
from training.objectives import objective
from training.objectives.objective import Given, Objective

QUARTER = jnp.pi / 2


def scm(given: Given, *, warmup: float = 0.1, offset: float = 0.1) -> Objective:
  """sCM, arXiv:2410.11081 alg. 1, consistency training; drawn from with solver lcm.

  TrigFlow's x = cos(a) x0 + sin(a) eps is schedule cosine with the angle a = t pi / 2,
  and its network F is target v, for data of unit spread; f = cos(a) x - sin(a) F is x0.
  With dx/da = cos(a) eps - sin(a) x0 and dF/da along it, one jvp,

      g = -cos(a)^2 (F - dx/da) - w cos(a) sin(a) (x + dF/da),  g / (|g| + offset)

  is what F's error is to be: |F - sg(F + g)|^2 / n, n numbers of a picture, |g| the
  root of their mean square. w rises from 0 to 1 over `warmup`, a share of the run.
  config.diffusion.learned_weight is the paper's adaptive weight.
  """
  specs.between(0, 1, warmup=warmup)
  specs.not_negative(offset=offset)
  for t in (0.25, 0.5):
    alpha, sigma = schedules.static_at(given.process.schedule, t)
    a, b = given.process.target(alpha, sigma)
    if abs(alpha**2 + sigma**2 - 1) > 1e-5 or abs(sigma - jnp.sin(QUARTER * t)) > 1e-5 \
        or abs(a + sigma) > 1e-5 or abs(b - alpha) > 1e-5:
      raise ValueError("it is TrigFlow's: it takes config.diffusion.schedule='cosine' "
                       "and target='v'.")
  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    eps, t = drawn['eps'], drawn['t']
    x_t = given.process.add_noise(x0, eps, t)
    cos, sin = (process.append_dims(side, x0) for side in given.process.schedule(t))
    predict = objective.predictor(given, params, context, drawn['dropout_keys'])
    def network(x, t):
      return process.split_variance(predict(x, t).astype(jnp.float32), x)[0]
    speed = cos * eps - sin * x0  # dx/da; t moves by 2 / pi of the angle
    pred, slope = jax.jvp(network, (x_t, t), (speed, jnp.full_like(t, 1 / QUARTER)))
    w = process.append_dims(jnp.minimum(drawn['progress'] / max(warmup, 1e-8), 1.0), x0)
    g = -cos**2 * (pred - speed) - w * cos * sin * (x_t + slope)
    axes = tuple(range(1, x0.ndim))
    size = jnp.sqrt(jnp.square(g).mean(axes, keepdims=True))
    g = jax.lax.stop_gradient(g / (size + offset))
    each = jnp.square(pred - jax.lax.stop_gradient(pred) - g).mean(axes)
    terms = {'scm': each * drawn['importance']}
    seen = {'t': t, 'loss': each}
    return objective.with_learned_weight(given, params, terms, t), seen
  return Objective(functools.partial(objective.draw_inputs, given), loss)
