r"""Says what a config will do before it does it.

python plan.py --config=configs/shapes.py --loss_weights [--out=weights.png]

--loss_weights: how the loss counts errors. For each log-SNR, the share of training that
falls there, the weight of a squared error of x0 and of noise, and share times weight,
which is what the network sees, whatever its target, schedule and time sampling.
"""
from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from console import command, options
from console.errors import UserError, user_errors
from console.files import atomic_write, check_new_file
import diffusion
from diffusion import schedules, time_sampling

LOW, HIGH = -12.0, 12.0  # of log-SNR
DRAWS = 2**18


def define_flags():
  options.define_config()
  flags.DEFINE_bool('loss_weights', False, 'Print the weight of errors by log-SNR.')
  flags.DEFINE_string('out', None, 'NAME.png: the same as a plot.')


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


def plot(path: str, name: str, c):
  """Draws the weights on a logarithmic axis against log-SNR."""
  try:
    from matplotlib import figure
  except ImportError as e:
    raise UserError('--out needs matplotlib: pip install matplotlib.') from e
  middle, share, of_x0, of_eps, effective = weights_by_log_snr(c, 96)
  sheet = figure.Figure(figsize=(7, 4), layout='constrained')
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
  with atomic_write(path) as new:
    sheet.savefig(new, dpi=120, format='png')
  print(path)


def main(flag):
  c = options.needed_config(flag)
  if not flag.loss_weights:
    raise UserError('say what to plan: --loss_weights.')
  with user_errors():
    if flag.out:
      check_new_file(flag.out, 'out', '.png')
    table = weights_by_log_snr(c.diffusion, 24)
  print(f'{"log-SNR":>8}{"share":>10}{"of x0":>12}{"of noise":>12}{"counts":>12}')
  for middle, share, of_x0, of_eps, effective in zip(*table):
    print(f'{middle:>8.1f}{share:>10.4f}{of_x0:>12.4g}{of_eps:>12.4g}{effective:>12.4g}')
  if flag.out:
    plot(flag.out, options.config_flag().partition('=')[2], c.diffusion)


if __name__ == '__main__':
  command.run(main, define_flags)
