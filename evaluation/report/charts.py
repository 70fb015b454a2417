"""What the page's charts show: columns of numbers, and which of them go together.

The page's script draws them. A chart is {title, note, log, series}; a series is {label,
colour, dash} with {run, key}, a column against its run's steps or seconds, or with its
own {x, y}; `low` and `high` are the ends of a band.
"""
import collections
import re

DIGITS = 7  # of a number: those of float32
CLOCK = ('step', 'seconds')
ENDS = re.compile(r'(.+)_(low|high)')
GROUPS = (  # title, note, logarithmic, regex over the names of what is logged
    ('Loss', 'mean since the last line', True, r'loss(/.*)?'),
    ('Loss by time', 'by quarter of time: t0 is next to the picture, t3 to noise',
     True, r'loss_t\d+'),
    ('Gradient norm', 'before it is clipped', True, 'grad_norm'),
    ('Learning rate', '', False, 'lr'),
    ('Pictures a second', 'trained on', False, 'images_per_s'),
    ('Waits', 'seconds since the last line in which the loop waited', False,
     r'wait_(data|checkpoint)_s'),
    ('Products a second', 'TFLOP/s of a device, of the model alone', False,
     'tflops_per_device'),
    ('MFU', 'of what the device can do', False, 'mfu'),
    ('Steps skipped', 'whose gradient was not finite, since the start', False,
     'skipped'),
    ('Bad pictures', 'since the last line', False, r'bad(/.*)?'))
ONLY_IF_ANY = ('skipped', 'bad')  # charts of nothing but zeros tell nothing


def columns(lines: list[dict]) -> dict:
  """{name: {'v': values, 'at': numbers of their lines, or None for all of them}}."""
  found = collections.defaultdict(lambda: {'v': [], 'at': []})
  for i, line in enumerate(lines):
    for name, value in line.items():
      found[name]['v'].append(rounded(value))
      found[name]['at'].append(i)
  return {name: column | {'at': None if len(column['v']) == len(lines)
                          else column['at']} for name, column in found.items()}


def rounded(value):
  return float(f'{value:.{DIGITS}g}') if isinstance(value, float) else value


def training(runs) -> list[dict]:
  """The charts of what train.py logs at every line."""
  names = logged(runs)
  return [chart for title, note, log, pattern in GROUPS
          if (chart := of_columns(title, note, log, runs, [
              name for name in names if re.fullmatch(pattern, name)
              and any_shown(runs, name)]))['series']]


def scores(runs) -> list[dict]:
  """A chart for each family of scores: 'accuracy' of accuracy/one_object."""
  known = '|'.join(f'({pattern})' for *_, pattern in GROUPS)
  names = [name for name in logged(runs) if name not in CLOCK
           and not re.fullmatch(known, name)]
  ends = {name for name in names
          if (found := ENDS.fullmatch(name)) and found[1] in names}
  families = collections.defaultdict(list)
  for name in names:
    if name not in ends:
      families[name.rpartition('/')[0] or name].append(name)
  return [of_columns(family, 'with 95% intervals' if any(
      f'{name}_low' in ends for name in some) else '', False, runs, some)
      for family, some in families.items()]


def logged(runs) -> list[str]:
  """Names of all that is logged, in the order in which they come."""
  return list(dict.fromkeys(
      name for run in runs for line in run.lines for name in line))


def any_shown(runs, name: str) -> bool:
  return not name.startswith(ONLY_IF_ANY) or any(
      line.get(name) for run in runs for line in run.lines)


def of_columns(title: str, note: str, log: bool, runs, names) -> dict:
  """A chart of columns: a colour a run, or a name where there is one run."""
  series = []
  for r, run in enumerate(runs):
    for n, name in enumerate(names):
      if any(name in line for line in run.lines):
        label = name if len(runs) == 1 else run.name if len(names) == 1 else (
            f'{run.name}: {name}')
        one = {'run': r, 'key': name, 'label': label,
               'colour': n if len(runs) == 1 else r, 'dash': n * (len(runs) > 1)}
        if any(f'{name}_low' in line for line in run.lines):
          one |= {'low': f'{name}_low', 'high': f'{name}_high'}
        series.append(one)
  return {'title': title, 'note': note, 'log': log, 'series': series}
