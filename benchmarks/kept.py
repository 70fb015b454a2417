"""Rows of measurements: as they are printed, and as benchmarks/README.md keeps them."""
import datetime
import os
import pathlib
import platform

import numpy as np

README = pathlib.Path(__file__).parent / 'README.md'
COLUMNS = ('date', 'machine', 'load', 'what', 'against', 'ours', 'theirs', 'ratio',
           'ratio of CPU time')
HEAD = f'| {" | ".join(COLUMNS)} |\n|{"-|" * len(COLUMNS)}'


def cores() -> int:
  """How many this process may use."""
  return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else (
      os.cpu_count())


def machine() -> str:
  """The processor and how many of it there are."""
  name = platform.processor() or platform.machine()
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    name = next(line.partition(':')[2].strip() for line in lines
                if line.startswith('model name'))
  except (OSError, StopIteration):  # not Linux
    pass
  return f'{cores()} x {name}'


def spread(values) -> str:
  """Median, and quartiles."""
  low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
  return f'{median:.2f} ({low:.2f} to {high:.2f})'


def row(what: str, against: str, ours, theirs, cpu: bool) -> dict:
  """One of COLUMNS of rounds that took turns, [rounds wall|cpu] of seconds each."""
  ours, theirs = np.asarray(ours), np.asarray(theirs)
  return dict(zip(COLUMNS, (
      f'{datetime.date.today()}', machine(), f'{os.getloadavg()[0]:.1f}', what, against,
      *(f'{np.median(side[:, 0]):.3g} s' for side in (ours, theirs)),
      spread(ours[:, 0] / theirs[:, 0]),
      spread(ours[:, 1] / theirs[:, 1]) if cpu else '')))


def line(row: dict) -> str:
  """A row of a Markdown table, and behind it what was kept of the same before."""
  same = [old for old in rows()
          if all(old[key] == row[key] for key in ('what', 'against'))]
  before = [f'kept: {old["ratio"]} on {old["date"]}, {old["machine"]}' for old in same]
  return f'| {" | ".join(row.values())} |' + ''.join(f'  <- {text}' for text in before)


def rows() -> list[dict]:
  """Those of the README's table."""
  found = [[cell.strip() for cell in line.strip('| \n').split(' | ')]
           for line in README.read_text().splitlines() if line.startswith('| 20')]
  return [dict(zip(COLUMNS, cells)) for cells in found]
