"""Many hosts that run the same command, as one program."""
import signal

import jax
from jax.experimental import multihost_utils

from console import supervisor
from console.errors import one_line

HEARTBEAT = 20  # seconds after which a process that says nothing is taken for dead


def join(coordinator: str | None, processes: int | None, process: int | None):
  """Starts jax.distributed, watched by a parent: console.supervisor.

  Raises ValueError where the other hosts are not found.
  """
  supervisor.watch(processes, process)
  try:
    jax.distributed.initialize(coordinator, processes, process,
                               heartbeat_timeout_seconds=HEARTBEAT)
  except (ValueError, RuntimeError) as e:
    raise ValueError(f'--distributed finds no other hosts ({one_line(e)}): give '
                     '--coordinator=HOST:PORT --processes=N --process=I.') from e


def wait_for_all(name: str):
  """Returns when every process has come here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


class Stop:
  """Turns SIGTERM and the first Ctrl-C into a wish to stop after a step."""

  def __init__(self):
    self.asked = False
    if jax.process_count() == 1:  # of many, jax.distributed listens for SIGTERM
      signal.signal(signal.SIGTERM, self.ask)
      signal.signal(signal.SIGINT, self.ask)

  def ask(self, signum, frame):
    del frame
    self.asked = True
    signal.signal(signum, signal.SIG_DFL)  # a second one ends the process at once

  def wanted(self, step: int) -> bool:
    """Whether to stop after this step; on many hosts, the same step on all."""
    if jax.process_count() == 1:
      return self.asked
    return multihost_utils.reached_preemption_sync_point(step)
