"""What is said of a peer that died, from what the C++ libraries say."""
import os
import signal
import subprocess
import sys

import pytest

from console import supervisor
from helpers.commands import ROOT

REPORTS = {  # parts of real reports of jax 0.10.2
    'process 3': 'E1124 12:30:04.1 5900 x.cc:1] Barrier failed because: task is set to '
                 'ERROR: UNAVAILABLE: Task 3 heartbeat timeout. This indicates ...',
    'process 1': 'E1124 12:34:35.3 9898 x.cc:1] Use error polling ...: The following '
                 'tasks are unhealthy (stopped sending heartbeats):\n1\nThe tasks have',
    'process 0': 'F1124 12:30:59.5 6768 client.h:80] Terminating process: Failed '
                 'to send RPC to coordination service. Either the leader task was ...',
    'another process': 'Traceback (most recent call last):\njax.errors.JaxRuntime'
                       'Error: UNKNOWN: Gloo all-reduce failed: Connection reset',
}


@pytest.mark.parametrize('which', REPORTS)
def test_a_report_of_many_lines_becomes_one_that_names_the_process(which):
  line = supervisor.lost_peer(REPORTS[which], 4)
  assert line.startswith(which) and ' of 4 no longer answers' in line
  assert 'Start the same command on every host' in line and '\n' not in line
  assert supervisor.CRASH.match(REPORTS[which])


def test_of_two_the_other_is_named_where_the_report_names_none():
  report = REPORTS['another process']
  for process in (0, 1):
    line = supervisor.lost_peer(report, 2, process)
    assert line.startswith(f'process {1 - process} of 2 ')
  assert supervisor.lost_peer(report, 3, 1).startswith('another process of 3')


def test_a_bug_is_no_dead_peer():
  assert supervisor.lost_peer('Traceback (most recent call last):\nKeyError', 2) is None


CODE = '''
import os, sys
from console import supervisor
supervisor.watch(2)
print('working', os.getpid(), flush=True)
print('a note', file=sys.stderr, flush=True)
{}
'''


@pytest.mark.parametrize('work, code, said', [
    ('sys.exit(0)', 0, 'a note\n'), ('sys.exit(3)', 3, 'a note\n'),
    ('print("Traceback (most recent call last):", file=sys.stderr); sys.exit(1)', 1,
     'a note\nTraceback (most recent call last):\n'),
    ('print("E1124 10:10:10.0 Task 1 heartbeat timeout\\nmore", file=sys.stderr)\n'
     'os.abort()', 2, 'a note\n-c: process 1 of 2 no longer answers. Start')])
def test_a_watched_process_ends_as_it_does_itself(work, code, said):
  done = subprocess.run([sys.executable, '-c', CODE.format(work)], cwd=ROOT, text=True,
                        capture_output=True, timeout=60)
  assert done.returncode == code and done.stdout.startswith('working')
  assert done.stderr.startswith(said)
  assert done.stderr.count('\n') == max(2 * (code in (1, 2)), 1)


def test_what_is_watched_dies_with_its_parent():
  process = subprocess.Popen(
      [sys.executable, '-c', CODE.format('import time; time.sleep(60)')], cwd=ROOT,
      text=True, stdout=subprocess.PIPE)
  child = int(process.stdout.readline().split()[1])
  process.kill()
  process.wait()
  assert process.stdout.read() == ''  # the pipe closes when the child ends
  with pytest.raises(ProcessLookupError):
    os.kill(child, signal.SIGTERM)
    os.kill(child, signal.SIGKILL)
    while True:
      os.kill(child, 0)
