"""evaluate.py: metrics of shared pictures, from the command line."""
import json
import os
import pathlib
import signal
import socket
import time

import numpy as np
from PIL import Image
import pytest

from helpers.commands import logged, train, trained

METRICS = "--metrics=fd(features='shapes'),kid(features='shapes',size=8,subsets=4)"
FAST = ('--steps=2', '--batch=8', '--solver=ddim', '--split=train')


@pytest.fixture(scope='module')
def run(root, commands):
  """The workdir of a short run."""
  return trained(root, commands, 'scored')


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


@pytest.mark.long
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


# A grid, the nearest pictures, evaluations along the way and the best of them.

def test_a_grid_measures_every_combination_once(run, commands):
  def start(*more):
    return commands.run(
        'evaluate.py', f'--workdir={run}', '--num=16', *FAST, *more,
        "--metrics=fd(features='shapes'),precision_recall(features='shapes')")
  grid = '--grid=timesteps=linear,shifted(shift=3.0) x guidance=2,3'
  code, out, err = start(grid)
  assert code == 0, err
  *_, table, plot = out.splitlines()
  rows = pathlib.Path(table).read_text()
  assert rows.count('\n| ') == 5 and '| shifted(shift=3.0) | 2 |' in rows
  assert pathlib.Path(plot).stat().st_size > 5_000
  there = {p: p.stat().st_mtime_ns for p in (run / 'evaluations').glob('fd*.json')}
  code, out, err = start(grid)
  assert code == 0, err
  assert there == {p: p.stat().st_mtime_ns
                   for p in (run / 'evaluations').glob('fd*.json')}
  for odd, message in (('--grid=hats=1', "'hats', not one of"),
                       ('--grid=steps=3,-1', 'config.sample.steps is -1'),
                       ('--grid=ema=0.1', 'config.train.averages_every')):
    code, out, err = start(odd)
    assert code == 2 and message in err and err.count('\n') == 1, err
  code, out, err = start(grid, '--out=/tmp/a.json')
  assert code == 2 and '--out is for one evaluation' in err


def test_the_nearest_true_pictures_are_a_sheet(run, root, commands):
  code, out, err = commands.run(
      'evaluate.py', f'--workdir={run}', "--metrics=fd(features='shapes')", *FAST,
      f'--nearest={root}/near.png', '--num=3')
  assert code == 0, err
  opened = Image.open(root / 'near.png')
  assert opened.text['rows'].count('\n') == 2 and opened.width > 500


def test_a_run_has_several_evaluations_and_keeps_the_best(root, commands):
  path = root / 'several.py'
  tiny = (root / 'tiny.py').read_text().replace('def get_config', 'def base_')
  path.write_text(tiny +
                  '\ndef get_config():\n  c = base_()\n  c.train.eval_every = 20\n'
                  "  c.eval.num, c.eval.split = 8, 'train'\n"
                  "  c.eval.metrics = (\"fd(features='shapes')\",)\n"
                  '  c.eval.more.quick = dict(every=10, num=12, sample=dict(steps=1))\n'
                  "  c.eval.best = 'quick/fd_shapes'\n  return c\n")
  workdir = root / 'several'
  given = [*train(root, 'several', 'several'), '--config.train.checkpoint_every=10']
  code, out, err = commands.run(*given, '--config.train.steps=30')
  assert code == 0, err
  lines = logged(workdir)
  found = {x['step']: x['quick/fd_shapes'] for x in lines if 'quick/fd_shapes' in x}
  assert list(found) == [10, 20, 30]
  assert [x['step'] for x in lines if 'fd_shapes' in x] == [20, 30]
  best = json.loads((workdir / 'best.json').read_text())
  assert best['step'] == min(found, key=found.get)
  assert best['value'] == min(found.values())
  code, out, err = commands.run('export.py', f'--workdir={workdir}', '--best',
                                f'--out={root}/best')
  assert code == 0, err
  code, out, err = commands.run('evaluate.py', f'--workdir={root}/best', '--num=12',
                                '--steps=1', '--seed=0')
  assert code == 0, err
  np.testing.assert_allclose(scores(out)['fd_shapes']['value'], best['value'],
                             rtol=0.02)  # the weights are now float16
  code, out, err = commands.run(*given, '--config.eval.best=hats')
  assert code == 2 and "best is 'hats'; the scores along the way are" in err
  code, out, err = commands.run('export.py', f'--workdir={root}/scored', '--best',
                                f'--out={root}/none')
  assert code == 2 and '--best needs a run with config.eval.best' in err
