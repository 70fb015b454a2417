"""What machines do to a run loses nothing: a short round of benchmarks/chaos.py."""
import os
import subprocess
import sys

import pytest

from helpers.commands import ROOT


@pytest.mark.long
def test_a_run_that_is_disturbed_loses_nothing(tmp_path):
  seed = str(int.from_bytes(os.urandom(2)))
  done = subprocess.run(
      [sys.executable, '-m', 'benchmarks.chaos', '--rounds=4', f'--seed={seed}',
       f'--workdir={tmp_path}/runs'], cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, (seed, done.stdout, done.stderr)
  assert 'last checkpoint is the same' in done.stdout
