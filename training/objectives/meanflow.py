"""MeanFlow: the mean velocity between two times, learned from its own derivative."""
import functools

import jax
import jax.numpy as jnp

from diffusion import process, specs
from training.objectives import objective, two_times
from training.objectives.objective import Given, Objective


def meanflow(given: Given, *, share: float = 0.25, power: float = 1.0,
             offset: float = 1e-2, guidance: float = 1.0,
             mix: float = 0.0) -> Objective:
  """MeanFlow, arXiv:2505.13447 alg. 1; drawn from with solver flow_map in few steps.

      u(x_t, t, s)  is to be  v - (t - s) (v du/dx + du/dt)                  (eq. 6)

  The derivative along the path is one jvp, and no gradient is taken through it. Each
  picture's squared error e, a sum over its numbers, is divided by (e + offset)^power,
  of which no gradient is taken, either (eq. 22).

  share: of the pictures whose s is below t; the others learn the velocity alone.
  guidance, mix: omega and kappa of eq. 20, with which v becomes that of guidance,
  omega v + kappa u(x_t | caption) + (1 - omega - kappa) u(x_t | none), each at s = t;
  the scale is omega / (1 - kappa), and the network is drawn from with guidance 1.
  """
  two_times.check(given)
  specs.between(0, 1, share=share)
  specs.not_negative(power=power, offset=offset, guidance=guidance)
  specs.require(lambda k: 0 <= k < 1, 'it must be from 0 to below 1', mix=mix)
  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    t, s = drawn['t'], drawn['s']
    x_t = given.process.add_noise(x0, drawn['eps'], t)
    u = two_times.mean_velocity(given, params, context, drawn['dropout_keys'])
    v = drawn['eps'] - x0
    if (guidance, mix) != (1.0, 0.0):
      v = guided(params, context, batch, drawn, x_t, v, u)
    mean, slope = jax.jvp(lambda x, t: u(x, t, s), (x_t, t), (v, jnp.ones_like(t)))
    wanted = jax.lax.stop_gradient(v - process.append_dims(t - s, x_t) * slope)
    error = jnp.square(mean - wanted).sum(tuple(range(1, x0.ndim)))
    each = error / jax.lax.stop_gradient(error + offset) ** power * drawn['importance']
    return {'meanflow': each}, {'t': t, 'loss': error / x0[0].size}

  def guided(params, context, batch, drawn, x_t, v, u):
    t = drawn['t']
    null = batch | {'tokens': jnp.broadcast_to(given.null_tokens,
                                               batch['tokens'].shape)}
    none = objective.read_batch(given, params, null, drawn, drop=False)[1]
    uncond = two_times.mean_velocity(given, params, none)(x_t, t, t)
    led = guidance * v + mix * u(x_t, t, t) + (1 - guidance - mix) * uncond
    dropped = process.append_dims(drawn['drop_caption'], x_t)
    return jax.lax.stop_gradient(jnp.where(dropped, v, led))
  return Objective(functools.partial(two_times.draw_two, given, share), loss,
                   scalars=('s',))
