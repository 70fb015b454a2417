"""One of many processes, watched: when a peer dies, a line says so.

What jax.distributed says of a lost peer are fifty lines from C++ before it aborts. So
the process forks: the child works, its parent passes on what it says.
"""
import os
import re
import signal
import sys
import threading
import time

CRASH = re.compile(r'[EF]\d{4} \d\d:\d\d:|Traceback ')  # how C++ or Python begin
SILENT = re.compile(r'(?:Task|stopped sending heartbeats\):)\s+(\d+)\b')
NO_COORDINATOR = 'Failed to send RPC to coordination service'


def watch(processes: int | None, process: int | None = None):
  """Returns in a child; the parent stays here, and ends as its child does.

  A crash of the child is told in one line, with exit code 2, where it is about a peer.

  processes, process: how many there are and which of them this is, for the message;
  None where nobody says.
  """
  read, write = os.pipe()
  parent, child = os.getpid(), os.fork()
  if not child:
    os.dup2(write, sys.stderr.fileno())
    os.close(read)
    os.close(write)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    return
  os.close(write)
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's reaches the child, too
  signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
  held = []
  with open(read, encoding='utf-8', errors='replace') as said:
    for line in said:
      if held or CRASH.match(line):
        held.append(line)
      else:
        print(line, end='', file=sys.stderr, flush=True)
  code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
  text = ''.join(held)
  if code and (lost := lost_peer(text, processes, process)):
    print(f'{os.path.basename(sys.argv[0])}: {lost}', file=sys.stderr, flush=True)
    code = 2
  else:
    print(text, end='', file=sys.stderr, flush=True)
  os._exit(code if code >= 0 else 128 - code)


def end_with(parent: int):
  """Ends this process when its parent is gone, however that went."""
  while os.getppid() == parent:
    time.sleep(0.5)
  os._exit(1)


def lost_peer(report: str, processes: int | None,
              process: int | None = None) -> str | None:
  """What a crash report says of another process, in a line; None if nothing."""
  if silent := SILENT.search(report):
    which = f'process {silent[1]}'
  elif NO_COORDINATOR in report:
    which = 'process 0, which coordinates the others,'
  elif 'Gloo' in report:
    which = f'process {1 - process}' if processes == 2 and process in (0, 1) else (
        'another process')
  else:
    return None
  return (f'{which}{f" of {processes}" if processes else ""} no longer answers. Start '
          'the same command on every host again: it goes on from the last checkpoint.')
