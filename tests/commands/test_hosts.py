"""Two processes of two devices train as one process of four does."""
import json
import socket


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
