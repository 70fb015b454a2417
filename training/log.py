"""What a run tells: metrics.jsonl, TensorBoard, pictures and a line of progress."""
import json
import math
import os
import sys
import time

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter


def clock(seconds: float) -> str:
  """3671 -> '1:01:11'."""
  minutes, s = divmod(int(seconds), 60)
  hours, m = divmod(minutes, 60)
  return f'{hours}:{m:02}:{s:02}' if hours else f'{m}:{s:02}'


class Log:
  """Writes a run's progress into its workdir.

  Opening it on a run that is resumed at `step` drops what was logged after that step,
  which is about to be logged again. With writes=False, as on all processes but the
  first, it only keeps the time.
  """

  def __init__(self, workdir: str, steps: int, step: int = 0, writes: bool = True):
    self.steps, self.writes = steps, writes
    self.start = time.monotonic()
    self.mark = None  # step and seconds from which the rate is taken
    self.paused = 0.0  # seconds, for what is not training
    if not writes:
      return
    self.path = os.path.join(workdir, 'metrics.jsonl')
    self.samples = os.path.join(workdir, 'samples')
    os.makedirs(self.samples, exist_ok=True)
    if os.path.exists(self.path):
      with open(self.path, encoding='utf-8') as f:
        lines = [line for line in f if line.endswith('\n')]
      kept = [line for line in lines if json.loads(line)['step'] <= step]
      if kept:  # time goes on from where the run was
        self.start -= json.loads(kept[-1]).get('seconds', 0.0)
      with open(self.path + '.new', 'w', encoding='utf-8') as f:
        f.writelines(kept)
      os.replace(self.path + '.new', self.path)
    self.board = SummaryWriter(
        os.path.join(workdir, 'tensorboard'), purge_step=step + 1 if step else None)

  def seconds(self) -> float:
    """Spent on training since the run began, without previews and checkpoints."""
    return time.monotonic() - self.start - self.paused

  def scalars(self, step: int, values: dict):
    """Appends one object to metrics.jsonl, and to TensorBoard."""
    if not self.writes:
      return
    values = {k: None if isinstance(v, float) and not math.isfinite(v) else v
              for k, v in values.items()}
    with open(self.path, 'a', encoding='utf-8') as f:
      f.write(json.dumps({'step': step} | values) + '\n')
    for name, value in values.items():
      if value is not None:
        self.board.add_scalar(name, value, step)

  def picture(self, step: int, grid: np.ndarray):
    """Writes samples/<step>.png and shows it in TensorBoard. grid: uint8 [h w 3]."""
    if not self.writes:
      return
    path = os.path.join(self.samples, f'{step}.png')
    Image.fromarray(grid).save(path)
    self.board.add_image('samples', grid, step, dataformats='HWC')
    self.say(path)

  def progress(self, step: int, values: dict):
    """One line: rewritten on a terminal, printed in a file."""
    left = '?'
    if self.mark:  # the first line, which waited for a compiler
      rate = (step - self.mark[0]) / max(self.seconds() - self.mark[1], 1e-9)
      left = clock((self.steps - step) / rate)
    else:
      self.mark = step, self.seconds()
    text = (f'step {step}/{self.steps}  loss {values["loss"]:.4f}  '
            f'{values["images_per_s"]:.0f} images/s  {clock(self.seconds())} gone, '
            f'{left} left')
    if self.writes and sys.stdout.isatty() and step < self.steps:
      print(f'\r\033[K{text}', end='', flush=True)
    else:
      self.say(text)

  def say(self, text: str):
    """A line of its own, also where a line of progress stands."""
    if not self.writes:
      return
    print(('\r\033[K' if sys.stdout.isatty() else '') + text, flush=True)

  def close(self):
    if self.writes:
      self.board.close()
