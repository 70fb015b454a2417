"""The training step: one pure function, compiled once."""
import jax
import jax.numpy as jnp
import optax

from diffusion import time_sampling
from models import placement
from training import accumulation, rounding, sharding, train_state

ROUNDING = 2**32 - 2  # folded into the seed for averages in bfloat16; steps are below
PARTS = 4  # of [0, 1], by which the loss is logged


def mean_loss(objective):
  """(trained, fixed, (batch, drawn)) -> (the mean loss, (means of its terms, seen)).

  trained, fixed['frozen'] and fixed['ema']: parameters, those that stay, and averages,
  as TrainState has them.
  """
  def loss_fn(trained, fixed, inputs):
    params, ema = (train_state.combine(p, fixed['frozen'])
                   for p in (trained, fixed['ema']))
    terms, seen = objective.loss(params, ema, *inputs)
    terms = {name: term.mean() for name, term in terms.items()}
    return sum(terms.values()), (terms, seen)
  return loss_fn


def draw(objective, state, root, batch, steps: int):
  """All that is random in the step that begins with a state, of a run of `steps`."""
  return placement.split_batch(objective.draw(
      jax.random.fold_in(root, state.step), batch['image'].shape, state.loss_ema,
      state.step / steps))


def averaged(profiles, state, params, root):
  """The averages of a state, moved towards new parameters."""
  key = jax.random.fold_in(jax.random.fold_in(root, ROUNDING), state.step)
  old = jax.tree.map(lambda x: x.astype(jnp.float32), state.ema)
  new = tuple(optax.incremental_update(params, each, 1 - decay(state.step))
              for each, decay in zip(old, profiles))
  return rounding.stored(new, state.ema, key)


def build_step(objective, optimizer, learning_rate, profiles, *, steps: int,
               accumulate: int = 1, gather_once: bool = True):
  """Makes train_step(state, batch, root) -> (state, metrics).

  A step whose loss or gradient is not finite changes nothing but the counters.

  learning_rate: step -> rate, for the log. profiles: of the averages, step -> decay.
  steps: of the whole run. accumulate: parts of the batch that are worked on one after
  another. gather_once: see accumulation.reduced_once.
  """
  def gradients(*args):
    grad_fn = jax.value_and_grad(mean_loss(objective), has_aux=True)
    if accumulate > 1:
      grad_fn = accumulation.in_parts(grad_fn, accumulate)
      if not objective.across:
        grad_fn = accumulation.reduced_once(grad_fn, gather_once)
    return grad_fn(*args)
  def train_step(state, batch, root):
    drawn = draw(objective, state, root, batch, steps)
    fixed = {'ema': state.ema[0], 'frozen': state.frozen}
    (loss, (terms, seen)), grads = gradients(state.params, fixed, (batch, drawn))
    norm = optax.global_norm(grads)
    ok = jnp.isfinite(loss) & jnp.isfinite(norm)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    averages = averaged(profiles, state, params, root)
    new = state.replace(
        params=params, ema=averages, opt_state=opt_state,
        loss_ema=time_sampling.observe(state.loss_ema, seen['t'], seen['loss']))
    total, row = state.skipped
    skipped = jnp.stack([total + ~ok, jnp.where(ok, 0, row + 1)])
    metrics = {'loss': loss, 'grad_norm': norm, 'terms': terms,
               'by_time': by_time(**seen), 'skipped': skipped,
               'lr': jnp.asarray(learning_rate(state.step - state.skipped[0]),
                                 jnp.float32)}
    state = jax.tree.map(lambda new, old: jnp.where(ok, new, old), new, state)
    return state.replace(step=state.step + 1, skipped=skipped), metrics
  return train_step


def by_time(loss, t):
  """Sums of losses f32[b], and how many, in each part of [0, 1]: f32[2 PARTS]."""
  at = jnp.clip(t * PARTS, 0, PARTS - 1).astype(int)
  part = jax.nn.one_hot(at, PARTS)  # [b PARTS]
  return jnp.concatenate([(loss[:, None] * part).sum(0), part.sum(0)])


def compile_step(train_step, shardings, mesh):
  """jit of a train step over a mesh: state donated, batch split, metrics everywhere."""
  whole = sharding.replicated(mesh)
  def step(*args):
    with placement.over(mesh):
      return train_step(*args)
  return jax.jit(step, donate_argnums=0, out_shardings=(shardings, whole),
                 in_shardings=(shardings, sharding.batch_sharding(mesh), whole))


def summary(metrics: list) -> dict:
  """The mean of fetched metrics since the last log, as plain numbers."""
  def mean(values):
    return float(sum(values) / len(metrics))
  parts = sum(m['by_time'] for m in metrics)
  total, count = parts[:PARTS], parts[PARTS:]
  out = {k: mean(m[k] for m in metrics) for k in ('loss', 'grad_norm')}
  names = metrics[0]['terms']
  if len(names) > 1:
    out |= {f'loss/{name}': mean(m['terms'][name] for m in metrics) for name in names}
  out |= {f'loss_t{i}': float(total[i] / count[i]) for i in range(PARTS) if count[i]}
  return out | {'lr': float(metrics[-1]['lr']),
                'skipped': int(metrics[-1]['skipped'][0])}
