"""A look at some steps of a run: what devices and host do, and what lies in memory."""
import contextlib
import os

import jax


class Profile:
  """Traces steps `first` to `last` of a run into WORKDIR/tensorboard/plugins/profile,
  where XProf and TensorBoard find it, and what lies in the devices' memory then into
  WORKDIR/memory.<process>.pprof, for `pprof`."""

  def __init__(self, workdir: str, steps: tuple = ()):
    """steps: (first, last); () for none."""
    self.workdir, self.steps, self.running = workdir, steps, False

  @contextlib.contextmanager
  def step(self, step: int):
    """Around what the host does for a step, which is named in the trace."""
    if self.steps and self.steps[0] <= step <= self.steps[1] and not self.running:
      jax.profiler.start_trace(os.path.join(self.workdir, 'tensorboard'))
      self.running = True
    with jax.profiler.StepTraceAnnotation('train', step_num=step):
      yield

  def after(self, step: int, state):
    """After a step; the last one that is traced is waited for."""
    if self.running and step >= self.steps[1]:
      jax.block_until_ready(state)
      self.close()

  def close(self):
    if self.running:
      jax.profiler.stop_trace()
      jax.profiler.save_device_memory_profile(os.path.join(
          self.workdir, f'memory.{jax.process_index()}.pprof'))
      self.running = False
