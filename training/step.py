"""The training step: one pure function, compiled once."""
import jax
import jax.numpy as jnp
import optax

from training import loss as losses
from training import mesh as meshes, state as states


def make(draw, loss, optimizer, rate, *, ema: float, accumulate: int = 1):
  """Makes train_step(state, batch, root) -> (state, metrics).

  A step whose loss or gradient is not finite changes nothing but the counters.

  Args:
    draw, loss: of training.loss.make.
    rate: step -> learning rate, for the log.
    ema: decay of the average; min(ema, (1 + step) / (10 + step)) is used.
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
    parts = jax.tree.map(split, (batch, drawn))
    def add(total, part):
      return jax.tree.map(jnp.add, total, grad_of(params, *part)), None
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(
        grad_of, params, *jax.tree.map(lambda x: x[0], parts)))
    ((value, bins), grads), _ = jax.lax.scan(add, zero, parts)
    mean = jax.tree.map(lambda x: x / accumulate, (value, grads))
    return (mean[0], bins), mean[1]

  def train_step(state, batch, root):
    drawn = draw(jax.random.fold_in(root, state.step), batch['image'].shape)
    (value, bins), grads = gradients(state.params, state.frozen, batch, drawn)
    norm = optax.global_norm(grads)
    ok = jnp.isfinite(value) & jnp.isfinite(norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
    average = optax.incremental_update(params, state.ema, 1 - decay)
    params, average, opt_state = jax.tree.map(
        lambda new, old: jnp.where(ok, new, old), (params, average, opt_state),
        (state.params, state.ema, state.opt_state))
    total, row = state.skipped
    skipped = jnp.stack([total + ~ok, jnp.where(ok, 0, row + 1)])
    metrics = {'loss': value, 'grad_norm': norm, 'bins': bins, 'skipped': skipped,
               'lr': jnp.asarray(rate(state.step - state.skipped[0]), jnp.float32)}
    return state.replace(step=state.step + 1, params=params, ema=average,
                         opt_state=opt_state, skipped=skipped), metrics
  return train_step


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
  bins = sum(m['bins'] for m in metrics)
  total, count = bins[:losses.BINS], bins[losses.BINS:]
  out = {k: float(sum(m[k] for m in metrics) / len(metrics))
         for k in ('loss', 'grad_norm')}
  out |= {f'loss_t{i}': float(total[i] / count[i])
          for i in range(losses.BINS) if count[i]}
  return out | {'lr': float(metrics[-1]['lr']),
                'skipped': int(metrics[-1]['skipped'][0])}
