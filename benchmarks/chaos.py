r"""Does to a run what machines do, and looks whether anything is lost.

python -m benchmarks.chaos --rounds=30 [--seed=1] [--workdir=FOLDER]

A small run is trained once undisturbed. Another one of the same config is started once
a round and disturbed at a random moment, in one of the ways of HARMS; then it trains to
its end. Every line that it has logged and its last checkpoint must be those of the
first, bit for bit; a round must go on from the newest checkpoint that was whole. Prints
a row for each round, and what was lost: steps, checkpoints, and rounds that ended in
another way than they should. Exit code 1 if anything was.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from absl import flags
import numpy as np

from console import command
from console.errors import UserError

STEPS, LOG, SAVE = 60, 5, 15  # of a round; between logs; between checkpoints
CLOCK = re.compile('images_per_s|seconds|tflops_per_device|mfu|wait_.*')
MODEL = "{'name': 'dit', 'width': 16, 'depth': 1, 'heads': 2, 'patch': 4}"
DISK = 96  # MiB


def define_flags():
  flags.DEFINE_integer('rounds', 30, 'Number of times that the run is disturbed.',
                       lower_bound=1)
  flags.DEFINE_integer('seed', 0, 'Seed of what is done when.', lower_bound=0)
  flags.DEFINE_string('workdir', None, 'Folder for the runs; none: a temporary one.')


class Run:
  """train.py in a process of its own, on a workdir."""

  def __init__(self, root, name: str, steps: int, devices: int = 1, data: str = 'data'):
    self.workdir = root / name
    self.said = tempfile.NamedTemporaryFile('w', encoding='utf-8')  # on another disk
    self.process = subprocess.Popen(
        [sys.executable, 'train.py', '--config=configs/demo.py',
         f'--workdir={self.workdir}', f'--config.data.dir={root / data}',
         '--config.data.pictures=256', '--config.data.size=16',
         f'--config.model={MODEL}', '--config.condition.width=16',
         '--config.condition.depth=1', '--config.condition.heads=2',
         '--config.tokenizer.vocab=300', f'--config.train.steps={steps}',
         '--config.train.batch=8', f'--config.train.log_every={LOG}',
         f'--config.train.checkpoint_every={SAVE}', '--config.train.sample_every=0',
         '--config.train.eval_every=0', '--config.train.keep=3'],
        cwd=ROOT, stdout=self.said, stderr=subprocess.STDOUT,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS':
                          f'--xla_force_host_platform_device_count={devices}'})

  def wait(self) -> tuple[int, str]:
    """(exit code, all that it said) at its end."""
    code = self.process.wait()
    return code, self.text()

  def text(self) -> str:
    return pathlib.Path(self.said.name).read_text(encoding='utf-8')

  def until(self, step: int):
    """Waits for the step to be logged by this process, or for the end."""
    while self.process.poll() is None and not (
        'parameters, ' in self.text() and logged(self.workdir)[-1:] >= [step]):
      time.sleep(0.01)

  def began(self) -> int:
    """The step that it went on from."""
    found = re.search(r'resumed at step (\d+)', self.text())
    return int(found[1]) if found else 0


def lines(workdir) -> dict:
  """{step: what was logged, without what the clock says}."""
  path = workdir / 'metrics.jsonl'
  text = path.read_text().splitlines(keepends=True) if path.exists() else []
  rows = [json.loads(line) for line in text if line.endswith('\n')]
  return {row['step']: {k: v for k, v in row.items() if not CLOCK.fullmatch(k)}
          for row in rows}


def logged(workdir) -> list[int]:
  return sorted(lines(workdir))


def checkpoints(workdir) -> list[int]:
  """Steps of those that are written, newest first."""
  folder = workdir / 'checkpoints'
  names = [path.name for path in folder.iterdir()] if folder.exists() else []
  return sorted((int(name) for name in names if name.isdigit()), reverse=True)


# Ways to disturb: (Run, rng) -> (what went otherwise than it should or '', the step
# from which the run must be able to go on).

def killed(run, rng):
  run.process.send_signal(signal.SIGKILL)
  run.wait()
  return '', max(checkpoints(run.workdir), default=0)


def asked(run, rng):
  run.process.send_signal(signal.SIGTERM)
  code, said = run.wait()
  found = re.search(r'stopped at step (\d+)', said)
  if code or not found:
    return f'exit code {code}: {said[-200:]}', 0
  return '', int(found[1])


def stopped(run, rng):
  """A process that stands still, and then is killed."""
  run.process.send_signal(signal.SIGSTOP)
  time.sleep(rng.uniform(0.1, 2))
  run.process.send_signal(signal.SIGCONT)
  run.until((logged(run.workdir) or [0])[-1] + LOG)
  return killed(run, rng)


def damaged(run, rng, damage):
  """A file of the newest checkpoint, after a kill; the one before it must do."""
  killed(run, rng)
  steps = checkpoints(run.workdir)
  if not steps:
    return '', 0
  newest = run.workdir / 'checkpoints' / str(steps[0])
  damage(rng.choice(sorted(path for path in newest.rglob('*') if path.is_file())), rng)
  return '', (steps + [0])[1]


def flipped(run, rng):
  def damage(path, rng):
    content = bytearray(path.read_bytes() or b'\0')
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
  return damaged(run, rng, damage)


def cut(run, rng):
  def damage(path, rng):
    os.truncate(path, rng.integers(max(path.stat().st_size, 1)))
  return damaged(run, rng, damage)


def full(run, rng):
  """A disk without a byte left, until the run has ended for it."""
  filler = run.workdir.parent / 'filler'
  with open(filler, 'wb', buffering=0) as f:
    try:
      for size in (1 << 20, 1 << 12, 1):
        try:
          while f.write(bytes(size)):
            pass
        except OSError:
          pass
      code, said = run.wait()
    finally:
      filler.unlink()
  ok = code == 2 and 'No space left' in said and 'Traceback' not in said
  return '' if ok else f'exit code {code}: {said[-200:]}', max(
      checkpoints(run.workdir)[1:], default=0)


def aside(run, rng, whole, steps, **how) -> tuple[str, int]:
  """Goes on for a while in a copy of the workdir, otherwise than before: it must end
  well, and log nearly what the undisturbed run did."""
  _, least = killed(run, rng)
  root = run.workdir.parent
  shutil.copytree(run.workdir, root / 'aside')
  other = Run(root, 'aside', steps, **how)
  first = max(checkpoints(other.workdir), default=0)
  other.until(first + 4 * LOG)
  wrong, _ = asked(other, rng)
  if 'data' not in how and not wrong:
    for step, row in lines(other.workdir).items():
      if step in whole and not np.isclose(row['loss'], whole[step]['loss'], rtol=1e-3):
        wrong = f'the loss at step {step} is {row["loss"]}, not {whole[step]["loss"]}'
  shutil.rmtree(root / 'aside')
  return wrong, least


def other_devices(run, rng, whole, steps):
  return aside(run, rng, whole, steps, devices=int(rng.choice([2, 4, 8])))


def bad_record(run, rng, whole, steps):
  """Bytes of the data overwritten: the run must go on and count the pictures."""
  root = run.workdir.parent
  shutil.copytree(root / 'data', root / 'bad_data')
  shard = rng.choice(sorted((root / 'bad_data').rglob('*array_record*')))
  with open(shard, 'r+b') as f:
    f.seek(int(rng.integers(shard.stat().st_size // 2)))
    f.write(rng.bytes(64))
  try:
    return aside(run, rng, whole, steps, data='bad_data')
  finally:
    shutil.rmtree(root / 'bad_data')


HARMS = {'SIGKILL': killed, 'SIGTERM': asked, 'SIGSTOP, SIGCONT, SIGKILL': stopped,
         'a flipped bit': flipped, 'a file cut': cut, 'a full disk': full,
         'other devices': other_devices, 'a corrupted record': bad_record}
ASIDE = other_devices, bad_record


def disturb(root, rounds: int, rng, whole: dict, harms: list) -> tuple[int, int]:
  """(checkpoints lost, rounds that ended otherwise) of so many rounds."""
  least, lost, wrongs, steps = 0, 0, 0, rounds * STEPS
  order = [name for _ in range(-(-rounds // len(harms)))  # each as often as others
           for name in rng.permutation(harms)][:rounds]
  print(f'{"round":>5}  {"what":<28}{"at step":>8}{"went on from":>14}{"needed":>8}')
  for i, name in enumerate(order):
    run = Run(root, 'run', steps)
    run.until(min(max(least, STEPS * i) + int(rng.integers(1, STEPS)), steps - 2 * LOG))
    at, began = (logged(run.workdir) or [0])[-1], run.began()
    lost += began < least
    more = (whole, steps) if HARMS[name] in ASIDE else ()
    needed, (wrong, least) = least, HARMS[name](run, rng, *more)
    wrongs += bool(wrong)
    print(f'{i + 1:>5}  {name:<28}{at:>8}{began:>14}{needed:>8}  {wrong}'.rstrip(),
          flush=True)
  return lost, wrongs


def trained(root, name: str, steps: int) -> tuple[dict, dict]:
  """(lines, checksums of the last checkpoint) of a run that goes to its end."""
  code, said = Run(root, name, steps).wait()
  if code:
    raise UserError(f'a run that nobody disturbed ended with {code}: {said[-500:]}')
  sums = root / name / 'checkpoints' / str(steps) / 'sums' / 'metadata'
  return lines(root / name), json.loads(sums.read_text())


def main(flag):
  root = pathlib.Path(flag.workdir or tempfile.mkdtemp())
  root.mkdir(parents=True, exist_ok=True)
  harms, mounted = list(HARMS), subprocess.run(
      ['mount', '-t', 'tmpfs', '-o', f'size={DISK}m', 'tmpfs', root],
      capture_output=True, text=True)
  if mounted.returncode:
    harms.remove('a full disk')
    print(f'no full disk: {mounted.stderr.strip()}')
  try:
    steps = flag.rounds * STEPS
    whole, sums = trained(root, 'whole', steps)
    lost, wrongs = disturb(root, flag.rounds, np.random.default_rng(flag.seed), whole,
                           harms)
    last, last_sums = trained(root, 'run', steps)
    differ = [step for step, row in whole.items() if last.get(step) != row
              and not {*range(step - LOG + 1, step)} & {*last}]  # where none stopped
    print(f'{flag.rounds} rounds: {len(differ) * LOG} steps lost or changed, {lost} '
          f'checkpoints lost, {wrongs} rounds that ended otherwise than they should; '
          f'the last checkpoint is {"the same" if sums == last_sums else "ANOTHER"}')
  finally:
    if not mounted.returncode:
      subprocess.run(['umount', '--lazy', root], check=True)
  sys.exit(int(bool(differ or lost or wrongs or sums != last_sums)))


if __name__ == '__main__':
  command.run(main, define_flags)
