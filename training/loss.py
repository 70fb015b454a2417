"""The loss of a batch: what is drawn at random, and what follows from it."""
import jax
import jax.numpy as jnp

from diffusion import objective, process, schedule, times

BINS = 4  # equal parts of [0, 1] by which the loss is logged


def choose(table, name, key):
  """table[name]; otherwise a ValueError that names the key and the choices."""
  if name not in table:
    raise ValueError(f'config.{key} is {name!r}, not one of {sorted(table)}.')
  return table[name]


def make(model, c, empty):
  """(draw, loss) of a config's `diffusion`.

  Args:
    model: TextToImage.
    empty: int32[l], the tokens of the empty caption.

  Returns:
    draw: (key, shape (b, h, w, c)) -> {'t': f32[b], 'eps': f32[b h w c],
      'drop': bool[b], 'dropout': keys [b]}.
    loss: (params, batch, drawn) -> (mean over pictures, sums and counts by time bin
      f32[2 BINS]). A batch has 'image' uint8 [b h w c] and 'tokens' int32 [b l].
  """
  noise = choose(schedule.SCHEDULES, c.schedule, 'diffusion.schedule')
  kind = c.target
  choose(process.ROWS, kind, 'diffusion.target')
  weight = choose(objective.WEIGHTS, c.weight, 'diffusion.weight')
  quantile = choose(times.DENSITIES, c.times, 'diffusion.times')
  density = quantile if c.times == 'uniform' else (
      lambda u: quantile(u, c.mean, c.std))

  def capped(alpha, sigma):
    """The weight; bounded unless it is just the mean square of the target."""
    w = weight(alpha, sigma)
    return w if c.weight == kind else jnp.minimum(w, c.weight_cap)

  def draw(key, shape):
    at, mix, noise_key, drop, dropout = jax.random.split(key, 5)
    t = times.draw(density, at, shape[0], c.stratified)
    return {'t': jax.random.permutation(mix, t),  # every part of a batch sees all times
            'eps': jax.random.normal(noise_key, shape),
            'drop': jax.random.bernoulli(drop, c.caption_dropout, shape[:1]),
            'dropout': jax.random.split(dropout, shape[0])}

  def loss(params, batch, drawn):
    x0 = batch['image'].astype(jnp.float32) / 127.5 - 1
    tokens = jnp.where(drawn['drop'][:, None], empty, batch['tokens'])
    context = model.apply({'params': params}, tokens, method='encode')
    def predict(x, t):
      return model.apply({'params': params}, x, t, context, method='predict',
                         rngs={'dropout': drawn['dropout'][0]})
    each = objective.loss(
        predict, noise, kind, capped, x0, drawn['t'], drawn['eps'])  # [b]
    inside = jax.nn.one_hot((drawn['t'] * BINS).astype(int), BINS)    # [b BINS]
    sums = (each[:, None] * inside).sum(0)
    return each.mean(), jnp.concatenate([sums, inside.sum(0)])

  return draw, loss
