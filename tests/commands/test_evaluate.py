"""evaluate.py: metrics of shared pictures, from the command line."""
import json
import os
import pathlib
import signal
import socket
import time

import numpy as np
import pytest

from helpers.commands import train

METRICS = "--metrics=fd(features='shapes'),kid(features='shapes',size=8,subsets=4)"
FAST = ('--steps=2', '--batch=8', '--solver=ddim', '--split=train')


@pytest.fixture(scope='module')
def run(root, commands):
  """The workdir of a short run."""
  code, out, err = commands.run(*train(root, 'scored'), '--config.train.steps=10',
                                '--config.train.checkpoint_every=10')
  assert code == 0, err
  return root / 'scored'


def scores(out: str) -> dict:
  """What evaluate.py has written, whose path is the last line that it prints."""
  return json.loads(pathlib.Path(out.splitlines()[-1]).read_text())['scores']


@pytest.fixture(scope='module')
def whole(run, commands):
  """Scores of 40 pictures on one device."""
  code, out, err = commands.run('evaluate.py', f'--workdir={run}', METRICS, '--num=40',
                                *FAST)
  assert code == 0, err
  assert 'fd_shapes' in out and '256 pictures of shapes' in out
  assert not list((run / 'evaluations').glob('*.progress'))
  return scores(out)


def alike(a: dict, b: dict):
  assert a.keys() == b.keys()
  for name in a:
    assert abs(a[name]['value'] - b[name]['value']) <= 1e-6 * abs(b[name]['value'])


def test_two_processes_score_as_one(run, commands, whole):
  with socket.socket() as s:
    s.bind(('localhost', 0))
    port = s.getsockname()[1]
  two = [commands.start('evaluate.py', f'--workdir={run}', METRICS, '--num=40', *FAST,
                        '--distributed', f'--coordinator=localhost:{port}',
                        '--processes=2', f'--process={i}', devices=2)
         for i in range(2)]
  ended = [process.wait() for process in two]
  assert [code for code, _, _ in ended] == [0, 0], ended
  alike(scores(ended[0][1]), whole)
  assert 'fd_shapes' in ended[0][1] and 'fd_shapes' not in ended[1][1]


def test_killed_it_goes_on_where_it_was(run, root, commands):
  """With `kill -9`, and the pictures of an npz; the second run does the rest alone."""
  def start(name):
    return commands.start('evaluate.py', f'--workdir={run}', METRICS, '--num=2200',
                          f'--out={root}/{name}.npz', *FAST, '--batch=64')
  process, folder = start('killed'), run / 'evaluations'
  while not process.ended() and not list(folder.glob('*.progress/progress.json')):
    time.sleep(0.02)
  process.send(signal.SIGKILL)
  assert process.wait()[0] == -signal.SIGKILL
  (progress,) = folder.glob('*.progress/progress.json')
  assert json.loads(progress.read_text())['saves'][0] == 1024
  before = (root / 'killed.npz.pictures.npy').stat()
  code, out, err = start('killed').wait()
  assert code == 0, err
  code, other, err = start('never').wait()
  assert code == 0, err
  assert scores(out) == scores(other)
  with np.load(root / 'killed.npz') as a, np.load(root / 'never.npz') as b:
    assert a['arr_0'].shape == (2200, 16, 16, 3)
    np.testing.assert_array_equal(a['arr_0'], b['arr_0'])
  assert before.st_size == 2200 * 768 + 128
  assert not list(root.glob('*.npy')) and not list(folder.glob('*.progress'))


def test_statistics_are_made_once_and_given(run, root, commands, whole):
  path = f'{root}/true.npz'
  code, out, err = commands.run(
      'evaluate.py', f'--statistics={path}', f'--config={root}/tiny.py', METRICS,
      '--split=train')
  assert code == 0 and '256 pictures' in out, err
  code, out, err = commands.run(
      'evaluate.py', f'--workdir={run}', METRICS, '--num=40', *FAST,
      f'--reference={path}', f'--out={root}/pictures/', f'--out={root}/scores.json')
  assert code == 0, err
  alike(json.loads((root / 'scores.json').read_text())['scores'], whole)
  assert len(os.listdir(root / 'pictures')) == 40


MISTAKES = {
    'no such metric': ('--metrics=fid9', "'fid9', not one of"),
    'an option that is none': ("--metrics=kid(part=1)", "no option 'part'"),
    'weights that are not there': ('--metrics=fid', 'inception'),
    'an odd output': ('--out=a.txt', 'none of NAME.json, NAME.npz and FOLDER/'),
    'two outputs of a kind': ('--out=/tmp/a.json --out=/tmp/b.json', 'given twice'),
    'no statistics': ('{fd} --reference={root}/nothing.npz', 'nothing.npz'),
    'no npz': ('{fd} --reference={root}/tiny.py', 'tiny.py is not a whole npz'),
    'no prompts': ('{fd} --prompts={root}/nothing.txt', 'nothing.txt'),
    'no classes': ('{fd} --prompts=classes', 'has none'),
    'an order that is none': ('{fd} --order=mixed', "'mixed', not one of"),
    'nothing to make': ('--metrics=vlb --statistics={root}/b.npz', 'vlb'),
    'no hosts': ('--process=1', 'need --distributed'),
}


@pytest.mark.parametrize('flags, message', MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(run, root, commands, flags, message):
  words = flags.format(root=root, fd="--metrics=fd(features='shapes')").split()
  code, out, err = commands.run('evaluate.py', f'--workdir={run}', '--num=16', *words)
  assert code == 2 and message in err, err
  assert len([x for x in err.splitlines() if 'prepared' not in x]) == 1, err
