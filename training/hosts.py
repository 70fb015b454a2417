"""Many hosts that run the same command, as one program."""
import jax
from jax.experimental import multihost_utils

from console import supervisor
from console.errors import one_line

HEARTBEAT = 20  # seconds after which a process that says nothing is taken for dead


def join(coordinator: str | None, processes: int | None, process: int | None):
  """Starts jax.distributed, watched by a parent: console.supervisor.

  Raises ValueError where the other hosts are not found.
  """
  supervisor.watch(processes)
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
