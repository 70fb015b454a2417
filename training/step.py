"""The training step: one pure function, compiled once."""
import jax
import jax.numpy as jnp
import optax

from diffusion import times
from training import mesh as meshes, state as states
from training.loss import PARTS


def make(draw, loss, optimizer, rate, profiles, *, accumulate: int = 1):
  """Makes train_step(state, batch, root) -> (state, metrics).

  A step whose loss or gradient is not finite changes nothing but the counters.

  Args:
    draw, loss: of training.loss.make.
    rate: step -> learning rate, for the log.
    profiles: of the averages, each step -> decay: training.ema.
    accumulate: parts of the batch that are worked on one after another.
  """
  def gradients(params, frozen, batch, drawn):
    """Of the mean over the batch, in `accumulate` parts."""
    grad_of = jax.value_and_grad(
        lambda trained, *part: loss(states.whole(trained, frozen), *part), has_aux=True)
    if accumulate == 1:
      return grad_of(params, batch, drawn)
    def split(x):  # [b ...] -> [accumulate b/accumulate ...], parts of all devices
      return x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1)
    def add(total, part):
      (value, each), grads = grad_of(params, *part)
      return jax.tree.map(jnp.add, total, (value, grads)), each
    zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, params)
    total, each = jax.lax.scan(add, zero, jax.tree.map(split, (batch, drawn)))
    value, grads = jax.tree.map(lambda x: x / accumulate, total)
    return (value, jax.tree.map(lambda x: x.reshape(-1), each)), grads

  def train_step(state, batch, root):
    drawn = draw(jax.random.fold_in(root, state.step), batch['image'].shape,
                 state.squares)
    (value, each), grads = gradients(state.params, state.frozen, batch, drawn)
    norm = optax.global_norm(grads)
    ok = jnp.isfinite(value) & jnp.isfinite(norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    averages = tuple(optax.incremental_update(params, old, 1 - decay(state.step))
                     for old, decay in zip(state.ema, profiles))
    squares = times.observe(state.squares, each['t'], each['each'])
    new = state.replace(params=params, ema=averages, opt_state=opt_state,
                        squares=squares)
    total, row = state.skipped
    skipped = jnp.stack([total + ~ok, jnp.where(ok, 0, row + 1)])
    metrics = {'loss': value, 'grad_norm': norm, 'parts': by_part(**each),
               'skipped': skipped,
               'lr': jnp.asarray(rate(state.step - state.skipped[0]), jnp.float32)}
    state = jax.tree.map(lambda new, old: jnp.where(ok, new, old), new, state)
    return state.replace(step=state.step + 1, skipped=skipped), metrics
  return train_step


def by_part(each, t):
  """Sums of losses, and how many, in each part of [0, 1]: f32[2 PARTS]."""
  at = jnp.clip(t * PARTS, 0, PARTS - 1).astype(int)
  part = jax.nn.one_hot(at, PARTS)  # [b PARTS]
  return jnp.concatenate([(each[:, None] * part).sum(0), part.sum(0)])


def compiled(train_step, shardings, mesh):
  """jit of a train step over a mesh: state donated, batch split, metrics everywhere."""
  whole = meshes.replicated(mesh)
  def step(*args):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # models.splash asks
      return train_step(*args)
  return jax.jit(step, donate_argnums=0, out_shardings=(shardings, whole),
                 in_shardings=(shardings, meshes.batch_sharding(mesh), whole))


def summary(metrics: list) -> dict:
  """The mean of fetched metrics since the last log, as plain numbers."""
  parts = sum(m['parts'] for m in metrics)
  total, count = parts[:PARTS], parts[PARTS:]
  out = {k: float(sum(m[k] for m in metrics) / len(metrics))
         for k in ('loss', 'grad_norm')}
  out |= {f'loss_t{i}': float(total[i] / count[i]) for i in range(PARTS) if count[i]}
  return out | {'lr': float(metrics[-1]['lr']),
                'skipped': int(metrics[-1]['skipped'][0])}
