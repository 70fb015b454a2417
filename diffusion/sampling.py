"""Sampling: one scan of solver steps from noise to pictures."""
import jax
import jax.numpy as jnp

from diffusion.process import Process, split_variance, to_x0
from diffusion.solvers import Solver


def denoiser(predict, process: Process, variance: bool = False):
  """Turns a network into denoise(x, t, *context) -> the x0 that it leads to.

  predict: (x [b h w c], t f32[b], *context) -> the target of the process, and what
  there may be beyond it; as `process.precondition` returns it. variance: return
  [b h w 2c], with the learned one beyond x0 brought from [-1, 1] to [0, 1] for ddpm.
  """
  def denoise(x, t, *context):
    pred = predict(x, jnp.full(x.shape[:1], t), *context).astype(jnp.float32)
    pred, beyond = split_variance(pred, x)
    x0 = to_x0(process.target, pred, x, *process.schedule(t))
    return jnp.concatenate([x0, (beyond + 1) / 2], -1) if variance else x0
  return denoise


def initial_noise(keys, shape):
  """x_T f32[b h w c]; picture i depends on its own key alone. shape: (h, w, c)."""
  return jax.vmap(
      lambda key: jax.random.normal(jax.random.fold_in(key, 0), shape))(keys)


def marginal(schedule, t, eps):
  """sqrt(alpha^2 + sigma^2) eps: what x_t is if pictures are standard normal."""
  return jnp.hypot(*schedule(t)) * eps


def noise(schedule, t, eps):
  """sigma eps: what x_t is if pictures are 0, as in k-diffusion."""
  return schedule(t)[1] * eps


def unit(schedule, t, eps):
  """eps itself."""
  return eps


# -> (schedule, t f32[], eps [b h w c]) -> x_t with hardly any picture, to start from.
PRIORS = {'marginal': lambda: marginal, 'noise': lambda: noise, 'unit': lambda: unit}


def advance(guided, solver: Solver, carry, t, s, keys):
  """One step of the loop, from time t to s, with keys [b] of its own.

  carry, returned anew: (x [b h w c], state of the solver, state of guidance). The first
  evaluation moves the state of guidance on; further ones see that from before it.
  """
  def evaluate(x, state, guidance_state):
    at = t
    if solver.perturb:
      x, at = solver.perturb(x, t, keys)
    x0, moved = guided.denoise(x, at, guidance_state)
    def denoise(x, t):
      return guided.denoise(x, t, guidance_state)[0]
    return *solver.step(denoise, x, x0, state, at, s, keys), moved
  if solver.upward is None:
    return evaluate(*carry)
  def upward(x, *states):
    return solver.upward(x, t, s, keys), *states
  return jax.lax.cond(s > t, upward, evaluate, *carry)


def sample(guided, solver: Solver, x_T, times, keys, film: bool = False, watch=None):
  """Integrates x_T [b h w c] along times f32[n + 1], decreasing but in editing.

  guided: guidance.Guided; `guidance.unguided(denoise)` for a plain denoiser. Of solvers
  that map, s f32[] -> such a one. keys: [b]. watch: (i int32[], x) -> None, traced
  after step i, from 1 on: it may call the host, and changes nothing; a solver that
  chooses its own times has no steps to watch.
  Returns x at the last time, [b h w c]; with `film`, (x, all on the way [n b h w c]).
  Raises ValueError for a film, or guidance with a state, of a solver that chooses its
  own times.
  """
  if solver.solve:
    if film or not guided.stateless:
      raise ValueError('the steps of a solver that chooses its own times differ from '
                       'picture to picture: no film and no rule that remembers.')
    return solver.solve(lambda x, t: guided.denoise(x, t, ())[0], x_T, times)
  toward = guided if solver.maps else lambda s: guided
  def body(carry, item):
    i, t, s = item
    fresh = jax.vmap(lambda key: jax.random.fold_in(key, i))(keys)
    carry = advance(toward(s), solver, carry, t, s, fresh)
    if watch:
      watch(i, carry[0])
    return carry, (carry[0] if film else None)
  steps = jnp.arange(1, len(times)), times[:-1], times[1:]
  start = x_T, solver.init(x_T), toward(times[-1]).init(x_T)
  (x, _, _), way = jax.lax.scan(body, start, steps)
  return (x, way) if film else x
