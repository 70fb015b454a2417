"""What a run tells: metrics.jsonl, pictures, trackers, and how far it is."""
import contextlib
import json
import math
import os
import time

import numpy as np
from PIL import Image

from console.files import atomic_write, write_text
from console.progress import clock
from training import machine


class Log:
  """Writes a run's progress into its workdir.

  Opening it on a run that is resumed at `step` drops what was logged after that step,
  which is about to be logged again. With writes=False, as on all processes but the
  first, it only keeps the time.
  """

  def __init__(self, workdir: str, steps: int, step: int = 0, writes: bool = True,
               track=lambda what, *values: None):
    """track: of training.trackers."""
    self.steps, self.writes, self.track = steps, writes, track
    self.start = self.since = time.monotonic()  # of the run, and of the last log
    self.mark = None  # step and seconds from which the rate is taken
    self.paused = 0.0  # seconds, for what is not training
    self.waits = {}  # seconds since the last log, by what was waited for
    self.samples = os.path.join(workdir, 'samples')
    if not writes:
      return
    self.path = os.path.join(workdir, 'metrics.jsonl')
    os.makedirs(self.samples, exist_ok=True)
    if os.path.exists(self.path):
      with open(self.path, encoding='utf-8') as f:
        lines = [line for line in f if line.endswith('\n')]
      kept = [line for line in lines if json.loads(line)['step'] <= step]
      if kept:  # time goes on from where the run was
        self.start -= json.loads(kept[-1]).get('seconds', 0.0)
      write_text(self.path, ''.join(kept))
    machine.record(workdir, step)

  def seconds(self) -> float:
    """Spent on training since the run began, without previews and checkpoints."""
    return time.monotonic() - self.start - self.paused

  @contextlib.contextmanager
  def pausing(self):
    """Around what is not training."""
    start = time.monotonic()
    yield
    spent = time.monotonic() - start
    self.paused, self.since = self.paused + spent, self.since + spent

  @contextlib.contextmanager
  def waiting(self, name: str):
    """Around what the host waits for: its seconds are told at the next log."""
    start = time.monotonic()
    yield
    self.waits[name] = self.waits.get(name, 0.0) + time.monotonic() - start

  def speed(self, steps: int, images: int, flops: float, peak: float | None) -> dict:
    """What the clock says of the steps since the last log.

    images, flops: of a step; of its products those of one device. peak: products that
    the device can do in a second; None where that is not known.
    """
    now = time.monotonic()
    rate, self.since = steps / (now - self.since), now
    values = {'images_per_s': rate * images, 'seconds': self.seconds(),
              'tflops_per_device': rate * flops / 1e12}
    if peak:
      values['mfu'] = rate * flops / peak
    values |= {f'wait_{name}_s': spent for name, spent in self.waits.items()}
    self.waits = dict.fromkeys(self.waits, 0.0)
    return values

  def scalars(self, step: int, values: dict):
    """Appends one object to metrics.jsonl, and to the trackers."""
    if not self.writes:
      return
    values = {k: None if isinstance(v, float) and not math.isfinite(v) else v
              for k, v in values.items()}
    with open(self.path, 'a', encoding='utf-8') as f:
      f.write(json.dumps({'step': step} | values) + '\n')
    self.track('scalars', step, {k: v for k, v in values.items() if v is not None})

  def picture(self, step: int, grid: np.ndarray) -> str:
    """Writes uint8 [h w 3] to samples/<step>.png, tells trackers; returns the path."""
    path = os.path.join(self.samples, f'{step}.png')
    if self.writes:
      with atomic_write(path) as new:
        Image.fromarray(grid).save(new, 'PNG')
      self.track('picture', step, grid)
    return path

  def page(self, path: str) -> str:
    """Gives the report to the trackers; returns its path."""
    self.track('page', path)
    return path

  def progress(self, step: int, values: dict) -> str:
    """How far the run is, in a line."""
    left, now = '?', self.seconds()
    if self.mark:  # the first line, which waited for a compiler
      rate = (step - self.mark[0]) / max(now - self.mark[1], 1e-9)
      left = clock((self.steps - step) / rate)
    self.mark = self.mark or (step, now)
    return (f'step {step}/{self.steps}  loss {values["loss"]:.4f}  '
            f'{values["images_per_s"]:.0f} images/s  {clock(now)} gone, {left} left')

  def close(self):
    if self.writes:
      self.track('close')
