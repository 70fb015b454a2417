"""How a loss counts errors, by log-SNR."""
import jax
import jax.numpy as jnp
import numpy as np

import diffusion
from diffusion import schedules, time_sampling

LOW, HIGH = -12.0, 12.0  # of log-SNR
DRAWS = 2**18


def weights_by_log_snr(c, bins: int):
  """What counts how much, by log-SNR.

  Args:
    c: a config's `diffusion`.

  Returns:
    (middles of the bins, share of the draws per unit of log-SNR, weight of x0, weight
    of eps, share times weight of x0 times what each draw counts), each f32[bins].
  """
  process = diffusion.build(c)
  loss_weight = diffusion.build_loss_weight(c, process)
  t, importance = diffusion.build_time_sampling(c, process)(
      jax.random.key(0), DRAWS, jnp.ones(time_sampling.BINS))
  edges = np.linspace(LOW, HIGH, bins + 1)
  at = np.asarray(schedules.log_snr(process.schedule, t))
  def density(counts):
    return (np.histogram(at, edges, weights=np.asarray(counts))[0]
            / DRAWS / np.diff(edges))
  middle = (edges[1:] + edges[:-1]) / 2
  of_x0 = np.asarray(loss_weight(jnp.float32(middle)))
  return (middle, density(jnp.ones(DRAWS)), of_x0, of_x0 * np.exp(-middle),
          density(importance) * of_x0)


def plot(sheet, name: str, c):
  """Draws the weights of a config's `diffusion` on a logarithmic axis against log-SNR.

  sheet: a figure of matplotlib.
  """
  middle, share, of_x0, of_eps, effective = weights_by_log_snr(c, 96)
  axes = sheet.subplots()
  rows = {'weight of an error of x0': (of_x0, '#0072b2', '-'),
          'weight of an error of noise': (of_eps, '#d55e00', '-'),
          'share of the draws': (share, '#999999', ':'),
          'what counts: share x weight of x0': (effective, 'black', '--')}
  for label, (values, colour, line) in rows.items():
    axes.plot(middle, np.where(values > 0, values, np.nan), line, color=colour,
              label=label)
  axes.set(yscale='log', xlabel='log-SNR (noise on the left, picture on the right)',
           title=f'{name}: {c.schedule}, target {c.target}, weight {c.loss_weight}')
  axes.set_ylim(1e-4, 1e4)
  axes.legend(frameon=False)
