"""Two processes of two devices train as one process of four does."""
import json
import signal
import socket
import time

import pytest


def losses(workdir):
  return [json.loads(line)['loss'] for line in open(workdir / 'metrics.jsonl')]


def test_two_processes_train_as_one(root, commands):
  def start(name, devices, *more):
    return commands.start(
        'train.py', f'--config={root}/tiny.py', f'--workdir={root}/{name}',
        '--config.train.steps=8', '--config.sample.prompts=("a ring",)',
        '--config.mesh.fsdp=2', *more, devices=devices)
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  two = [start('two', 2, '--distributed', f'--coordinator=localhost:{port}',
               '--processes=2', f'--process={i}') for i in range(2)]
  ended = [process.wait() for process in two]
  assert [code for code, _, _ in ended] == [0, 0], ended
  said = [out for _, out, _ in ended]
  code, out, err = start('one', 4, '--config.train.sample_every=0').wait()
  assert code == 0, err
  assert '4 cpu device(s)' in out and '4 cpu device(s)' in said[0]
  assert 'step 8/8' in said[0] and 'step 8/8' not in said[1]
  for a, b in zip(losses(root / 'one'), losses(root / 'two'), strict=True):
    assert abs(a - b) < 1e-5
  assert (root / 'two' / 'samples' / '8.png').exists()


@pytest.mark.long
def test_when_a_process_dies_the_other_says_so_and_one_process_goes_on(root, commands):
  """Within a minute, in one line that names it, with exit code 2."""
  def start(*more):
    return commands.start(
        'train.py', f'--config={root}/tiny.py', f'--workdir={root}/dies',
        '--config.train.steps=100000', '--config.train.sample_every=0',
        '--config.train.log_every=2', '--config.train.checkpoint_every=4', *more,
        devices=2)
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  two = [start('--distributed', f'--coordinator=localhost:{port}', '--processes=2',
               f'--process={i}') for i in range(2)]
  while not two[0].ended() and 'step 20/' not in two[0].said():
    time.sleep(0.1)
  two[1].send(signal.SIGKILL)
  since = time.monotonic()
  code, _, err = two[0].wait()
  assert code == 2 and time.monotonic() - since < 60
  assert [line for line in err.splitlines() if 'prepared' not in line] == [
      'train.py: process 1 of 2 no longer answers. Start the same command on every '
      'host again: it goes on from the last checkpoint.']
  assert two[1].wait()[0] == -signal.SIGKILL
  steps = [int(p.name) for p in (root / 'dies/checkpoints').iterdir()
           if p.name.isdigit()]
  code, out, err = start(f'--config.train.steps={max(steps) + 4}').wait()
  assert code == 0 and 'resumed at step' in out, err
