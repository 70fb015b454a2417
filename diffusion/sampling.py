"""Sampling: one scan of solver steps from noise to pictures."""
import jax
import jax.numpy as jnp

from diffusion import process, solvers


def denoiser(predict, schedule, row, variance: bool = False):
  """Turns a network into denoise(x, t, *context) -> the x0 that it leads to.

  Args:
    predict: (x [b h w c], t f32[b], *context) -> the target of `row`, and what there
      may be beyond it.
    variance: return [b h w 2c] with the learned one beyond x0, as ddpm takes it; what
      the network says of it from -1 to 1 is from 0 to 1 here.
  """
  def denoise(x, t, *context):
    pred = predict(x, jnp.full(x.shape[:1], t), *context).astype(jnp.float32)
    pred, beyond = process.parts(pred, x)
    x0 = process.to_x0(row, pred, x, *schedule(t))
    return jnp.concatenate([x0, (beyond + 1) / 2], -1) if variance else x0
  return denoise


def initial_noise(keys, shape):
  """x_T f32[b h w c]; picture i depends on its own key alone. shape: (h, w, c)."""
  def one(key):
    return jax.random.normal(jax.random.fold_in(key, 0), shape)
  return jax.vmap(one)(keys)


def prior(schedule, t, eps):
  """x_t f32[b h w c] with hardly any picture in it, to start from at time t (f32[]).

  sqrt(alpha^2 + sigma^2) times noise: what x_t is if pictures are standard normal.
  """
  return jnp.hypot(*schedule(t)) * eps


def sample(denoise, solver: solvers.Solver, x_T, times, keys, film: bool = False,
           memory=None):
  """Integrates x_T [b h w c] along decreasing times f32[n + 1].

  Args:
    keys: one key a picture, [b].
    film: also return every x on the way.
    memory: where guidance remembers (diffusion.guidance.Guided), its first memory;
      `denoise` then takes and returns it. The first evaluation of a step moves it on.

  Returns:
    x at the last time, [b h w c]; with `film`, (x, all [n b h w c]).
  """
  def body(carry, item):
    (x, state, memory), (i, t, s) = carry, item
    memories = []
    def remembering(x, t):
      x0, new = denoise(x, t, memory)
      memories.append(new)
      return x0
    fresh = jax.vmap(lambda key: jax.random.fold_in(key, i))(keys)
    x, state = solver.step(denoise if memory is None else remembering, x, state, t, s,
                           fresh)
    return (x, state, memories[0] if memories else memory), (x if film else None)
  steps = jnp.arange(1, len(times)), times[:-1], times[1:]
  (x, _, _), way = jax.lax.scan(body, (x_T, solver.init(x_T), memory), steps)
  return (x, way) if film else x
