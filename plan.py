r"""Says what a config will do before it does it.

python plan.py --config=configs/papers/dit.py:xl --topology=v5e:4x4 \
    [--config.mesh.fsdp=16] [--sample] [--search] [--price=1.2] [--out=plan.png]
python plan.py --config=configs/shapes.py --loss_weights [--out=weights.png]

--topology: compiles the training step (or, with --sample, the sampler) for chips that
need not be here, and says what each holds in memory, how many products there are, what
moves between the chips, and what the whole run takes. TPUs are compiled for by libtpu
where it is installed (pip install libtpu), GPUs by their share of the CPU's program.

--loss_weights: how the loss counts errors. For each log-SNR, the share of training that
falls there, the weight of a squared error of x0 and of noise, and share times weight,
which is what the network sees, whatever its target, schedule and time sampling.
"""
import json

from absl import flags

from console import command, options
from console.errors import UserError, user_errors
from console.files import atomic_write, check_new_file
from evaluation import chips, loss_weights, planning
from training import sharding

PUBLISHED = (  # dollars that a training run is said to have cost
    ('Stable Diffusion 1', 600_000), ('Z-Image', 630_000),
    ('Stable Diffusion 2 at MosaicML', 47_700), ('PixArt-alpha', 26_000),
    ('MicroDiT', 1_890), ('Nitro-E', 600))
DAY = 86_400


def define_flags():
  options.define_config()
  flags.DEFINE_string('topology', None, 'Chips to plan for: CHIP:SIDES, such as '
                      f'v5p:4x4x4 or h100:8, with a chip of {sorted(chips.CHIPS)}.')
  flags.DEFINE_bool('sample', False, 'Plan the sampler, not the training step.')
  flags.DEFINE_bool('search', False, 'Try meshes, recomputation and accumulation, and '
                    'rank what fits. Every one is compiled.')
  flags.DEFINE_float('price', None, 'Dollars of a chip and hour.', lower_bound=0)
  flags.DEFINE_float('utilisation', planning.UTILISATION, 'Share of the products of a '
                     'chip that is assumed to be reached.', 0.01, 1.0)
  flags.DEFINE_bool('json', False, 'Print the plan as JSON.')
  flags.DEFINE_bool('loss_weights', False, 'Print the weight of errors by log-SNR.')
  flags.DEFINE_string('out', None, 'NAME.png: the same as a plot.')


def figure_of(path: str):
  """A new figure; matplotlib is needed for it alone."""
  try:
    from matplotlib import figure
  except ImportError as e:
    raise UserError('--out needs matplotlib: pip install matplotlib.') from e
  check_new_file(path, 'out', '.png')
  return figure.Figure(figsize=(7, 4), layout='constrained')


def save(sheet, path: str):
  with atomic_write(path) as new:
    sheet.savefig(new, dpi=120, format='png')
  print(path)


def plan_for(c, devices, sample: bool):
  mesh = sharding.make_mesh(**c.mesh, devices=devices)
  return (planning.plan_sampler if sample else planning.plan_step)(c, mesh)


def describe(plan, chip, count: int, c, flag) -> dict:
  """The plan as plain numbers."""
  times = planning.seconds(plan, chip, count, flag.utilisation)
  step = max(times.values())
  said = {'memory_gib': {k: v / planning.GIB for k, v in plan.memory.items()},
          'total_gib': plan.total / planning.GIB, 'chip_gib': chip.memory,
          'flops': plan.flops, 'recomputed': plan.recomputed,
          'moves': [move._asdict() for move in plan.moves],
          'seconds': times, 'remedy': planning.remedy(plan, chip, c)}
  if not flag.sample:
    hours = step * c.train.steps * count / 3600
    said['run'] = {'days': step * c.train.steps / DAY, 'chip_hours': hours,
                   'images_per_s': c.train.batch / step}
    if flag.price is not None:
      said['run']['dollars'] = hours * flag.price
  return said


def show(said: dict, flag):
  """Prints a plan."""
  print(f'memory of a chip: {said["total_gib"]:.2f} GiB of {said["chip_gib"]:g}')
  for kind, size in said['memory_gib'].items():
    print(f'  {kind:<14}{size:>10.3f} GiB')
  print(f'products: {said["flops"] / 1e12:,.2f} TFLOP, {said["recomputed"]:.0%} of '
        'them done again to save memory')
  print('between chips, of each:' if said['moves'] else 'between chips: nothing')
  for move in said['moves']:
    print(f'  {move["kind"]:<20}{move["axes"]:<14}{move["count"]:>7} times'
          f'{move["bytes"] / planning.GIB:>10.3f} GiB')
  times = said['seconds']
  print(f'time: {times["products"]:.3f} s of products at {flag.utilisation:.0%} of a '
        f'chip, {times["network"]:.3f} s between chips at all links; the longer counts')
  if run := said.get('run'):
    money = f', ${run["dollars"]:,.0f}' if 'dollars' in run else ''
    print(f'the run: {run["images_per_s"]:,.0f} images/s, {run["days"]:.2f} days, '
          f'{run["chip_hours"]:,.0f} chip-hours{money}')
    if money:
      print('published: ' + ', '.join(f'{name} ${cost:,}' for name, cost in PUBLISHED))
  print(said['remedy'] and f'does not fit: {said["remedy"]}' or 'fits')


def plot(sheet, title: str, said: dict):
  """Where memory goes, and time."""
  memory, time = sheet.subplots(1, 2, width_ratios=(2, 1))
  kinds = {k: v for k, v in said['memory_gib'].items() if v > 1e-4}
  memory.barh(list(kinds), list(kinds.values()), color='#0072b2')
  memory.axvline(said['chip_gib'], color='#d55e00', linestyle='--')
  memory.set(xlabel=f'GiB of a chip (dashed: all of its {said["chip_gib"]:g})')
  memory.invert_yaxis()
  time.bar(list(said['seconds']), list(said['seconds'].values()), color='#009e73')
  time.set(ylabel='seconds a step')
  sheet.suptitle(title)


def search(c, devices, chip, flag):
  """Compiles every candidate and prints those that fit, the fastest first."""
  found = []
  for words, other in planning.candidates(c, len(devices)):
    try:
      plan = plan_for(other, devices, flag.sample)
    except ValueError as e:  # this one makes no sense: a batch that does not divide
      print(f'{words}: {e}')
      continue
    said = describe(plan, chip, len(devices), other, flag)
    time, size = max(said['seconds'].values()), said['total_gib']
    print(f'{words}: {size:.2f} GiB, {time:.3f} s')
    if not said['remedy']:
      found.append((time, size, words))
  print('what fits, the fastest first:' if found else 'nothing of these fits')
  for time, size, words in sorted(found):
    print(f'  {time:.3f} s  {size:.2f} GiB  {words}')


def plan_topology(c, flag):
  """Answers --topology."""
  with user_errors():
    chip, count = chips.parse(flag.topology)
    devices, compiler = chips.devices(flag.topology)
    sheet = flag.out and figure_of(flag.out)
    if flag.search:
      return search(c, devices, chip, flag)
    said = describe(plan_for(c, devices, flag.sample), chip, count, c, flag)
  name = options.config_flag().partition('=')[2]
  title = f'{name}, {"sampling" if flag.sample else "training"}, {flag.topology}'
  if flag.json:
    print(json.dumps(said | {'compiler': compiler}, indent=2))
  else:
    print(f'{title}, compiled by {compiler}')
    show(said, flag)
  if flag.out:
    plot(sheet, title, said)
    save(sheet, flag.out)


def plan_loss_weights(c, flag):
  """Answers --loss_weights."""
  with user_errors():
    sheet = flag.out and figure_of(flag.out)
    table = loss_weights.weights_by_log_snr(c.diffusion, 24)
  print(f'{"log-SNR":>8}{"share":>10}{"of x0":>12}{"of noise":>12}{"counts":>12}')
  for middle, share, of_x0, of_eps, effective in zip(*table):
    print(f'{middle:>8.1f}{share:>10.4f}{of_x0:>12.4g}{of_eps:>12.4g}{effective:>12.4g}')
  if flag.out:
    loss_weights.plot(sheet, options.config_flag().partition('=')[2], c.diffusion)
    save(sheet, flag.out)


def main(flag):
  c = options.needed_config(flag)
  if flag.loss_weights == bool(flag.topology):
    raise UserError('say what to plan: --topology=CHIP:SIDES or --loss_weights.')
  if flag.topology:
    return plan_topology(c, flag)
  plan_loss_weights(c, flag)


if __name__ == '__main__':
  command.run(main, define_flags)
