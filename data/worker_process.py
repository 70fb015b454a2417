"""What a process that works for another one does about the end of that one."""
import os
import signal
import threading
import time


def die_with_parent(parent: int, *_):
  """In a worker: ends it when `parent` has gone, however that was, also by kill -9.

  Ctrl-C, which the terminal sends to all, is for the parent to answer.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  def watch():
    while os.getppid() == parent:
      time.sleep(0.5)
    os._exit(1)
  threading.Thread(target=watch, daemon=True).start()
