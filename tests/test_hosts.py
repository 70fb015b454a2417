"""Two processes of two devices train as one process of four does."""
import json
import socket
import subprocess

from conftest import tiny
import scripts as forks


def start(root, name, devices, *more):
  return subprocess.Popen(
      forks.command(('train.py', f'--config={root}/tiny.py', f'--workdir={root}/{name}',
                     '--config.train.steps=8', '--config.sample.prompts=("a ring",)',
                     '--config.mesh.fsdp=2', *more)),
      cwd=forks.ROOT, env=forks.environment(devices), text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def losses(workdir):
  return [json.loads(line)['loss'] for line in open(workdir / 'metrics.jsonl')]


def test_two_processes_train_as_one(tmp_path):
  c = tiny(str(tmp_path / 'data')).to_dict()
  (tmp_path / 'tiny.py').write_text(
      f'from ml_collections import ConfigDict\n\ndef get_config():\n'
      f'  return ConfigDict({c!r})\n')
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  two = [start(tmp_path, 'two', 2, '--distributed', f'--coordinator=localhost:{port}',
               '--processes=2', f'--process={i}') for i in range(2)]
  said = [process.communicate(timeout=300) for process in two]
  assert [process.returncode for process in two] == [0, 0], said
  one = start(tmp_path, 'one', 4, '--config.train.sample_every=0')
  out, err = one.communicate(timeout=300)
  assert one.returncode == 0, err
  assert '4 cpu device(s)' in out and '4 cpu device(s)' in said[0][0]
  assert 'step 8/8' in said[0][0] and 'step 8/8' not in said[1][0]
  for a, b in zip(losses(tmp_path / 'one'), losses(tmp_path / 'two'), strict=True):
    assert abs(a - b) < 1e-5
  assert (tmp_path / 'two' / 'samples' / '8.png').exists()
