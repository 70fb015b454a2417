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


def slurm(job: int, i: int) -> dict:
  """What srun gives task i of two on this host."""
  return {'SLURM_JOB_ID': job, 'SLURM_STEP_NODELIST': 'localhost', 'SLURM_NTASKS': 2,
          'SLURM_STEP_NUM_NODES': 1, 'SLURM_PROCID': i, 'SLURM_LOCALID': i}


def open_mpi(job: int, i: int) -> dict:
  """What mpirun of Open MPI 4 gives rank i of two on this host."""
  return {'OMPI_MCA_orte_hnp_uri': f'{job * 2**12}.0;tcp://127.0.0.1:34911',
          'OMPI_COMM_WORLD_SIZE': 2, 'OMPI_COMM_WORLD_RANK': i,
          'OMPI_COMM_WORLD_LOCAL_RANK': i}


@pytest.mark.long
@pytest.mark.parametrize('launcher', [slurm, open_mpi])
def test_hosts_are_found_by_what_a_launcher_says(root, commands, launcher):
  """Both take a port from the number of the job."""
  ports = 2**12
  for job in range(1000, 1000 + ports):
    with socket.socket() as s:
      if s.connect_ex(('localhost', 65536 - ports + job % ports)):
        break  # nobody listens there
  two = [commands.start(
      'train.py', f'--config={root}/tiny.py', f'--workdir={root}/{launcher.__name__}',
      '--config.train.sample_every=0', '--distributed',
      env={name: str(value) for name, value in launcher(job, i).items()})
         for i in range(2)]
  ended = [process.wait() for process in two]
  assert [code for code, _, _ in ended] == [0, 0], ended
  assert '2 cpu device(s)' in ended[0][1] and 'step 8/8' in ended[0][1]
  assert 'step 8/8' not in ended[1][1]


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
