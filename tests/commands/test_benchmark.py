"""benchmark.py from the command line, with a tiny run."""
import json
import signal
import time

import numpy as np
from PIL import Image
import pytest

PROMPTS = ('a red circle', 'a purple star')
FLAGS = ('--workdir={root}/drawn_with', '--steps=2')


@pytest.fixture(scope='module')
def prompts(root, commands):
  """A file of prompts; beside it a run to draw with."""
  code, _, err = commands.run(
      'train.py', f'--config={root}/tiny.py', f'--workdir={root}/drawn_with',
      '--config.train.steps=2', '--config.train.sample_every=0')
  assert code == 0, err
  path = root / 'evaluation_metadata.jsonl'
  path.write_text(''.join(json.dumps({'tag': 'colors', 'include': [], 'prompt': prompt})
                          + '\n' for prompt in PROMPTS))
  return path


def given(root):
  return [flag.format(root=root) for flag in FLAGS]


def geneval(root, prompts, *more):
  return ('benchmark.py', '--benchmark=geneval', f'--prompts={prompts}', '--batch=2',
          f'--out={root}/geneval/', *given(root), *more)


def test_killed_it_goes_on_to_the_pictures_that_sample_draws(root, prompts, commands):
  folder, process = root / 'geneval', commands.start(*geneval(root, prompts))
  while not process.ended() and not list(folder.rglob('*.png')):
    time.sleep(0.002)
  process.send(signal.SIGKILL)
  assert process.wait()[0] == -signal.SIGKILL
  there = {path: path.stat().st_mtime_ns for path in folder.rglob('*.png')}
  assert 0 < len(there) < 8
  code, out, err = commands.run(*geneval(root, prompts))
  assert code == 0 and f'{len(there)} of 8 pictures are there.' in err, err
  assert out.strip() == f'{folder}/images'
  assert all(path.stat().st_mtime_ns == then for path, then in there.items())
  asked = [f'--prompt={prompt}' for prompt in PROMPTS]
  code, out, err = commands.run('sample.py', *given(root), *asked, '--num=4',
                                '--batch=2', f'--out={root}/sampled/')
  assert code == 0, err
  for k in range(8):
    ours = np.asarray(Image.open(
        folder / f'images/{k // 4:05}/samples/{k % 4:04}.png')).astype(int)
    theirs = np.asarray(Image.open(root / f'sampled/{k:04}.png'))
    assert np.abs(ours - theirs).max() <= 1


def test_scores_are_printed_and_kept(root, commands):
  lines = [{'tag': tag, 'correct': right, 'metadata': tag} for tag, right in (
      ('colors', True), ('colors', False), ('position', False))]
  (root / 'results.jsonl').write_text(''.join(json.dumps(x) + '\n' for x in lines))
  code, out, err = commands.run(
      'benchmark.py', '--benchmark=geneval', f'--results={root}/results.jsonl',
      f'--out={root}/geneval.json')
  assert code == 0, err
  assert 'overall' in out and '25.0%' in out and 'mean of the tasks' in out
  kept = json.loads((root / 'geneval.json').read_text())
  assert kept['scores']['overall']['value'] == 0.25


@pytest.mark.parametrize('flags, message', [
    ((), '--benchmark is needed, one of'),
    (('--benchmark=hats',), "value should be one of"),
    (('--benchmark=geneval',), '--prompts is needed'),
    (('--benchmark=geneval', '--prompts={prompts}'), '--out=FOLDER/ is needed'),
    (('--benchmark=geneval', '--prompts={prompts}', '--out=x.json'), '--out=FOLDER/'),
    (('--benchmark=geneval', '--prompts={prompts}', '--out={prompts}'), 'is no folder'),
    (('--benchmark=geneval', '--prompts={root}/none', '--out={root}/n/', *FLAGS),
     'none: No such file or directory'),
    (('--benchmark=geneval', '--prompts={prompts}', '--out={root}/n/'), '--workdir'),
    (('--benchmark=geneval', '--prompts={prompts}', '--out={root}/n/', '--weights=a',
      '--workdir=b'), 'are two models'),
    (('--benchmark=geneval', '--prompts={prompts}', '--out={root}/n/', *FLAGS,
      '--negative=blue', '--guidance=1'), '--negative has no effect at --guidance=1'),
    (('--benchmark=geneval2', '--prompts={prompts}', '--out={root}/n/', *FLAGS,
      '--num=2'), '--num is 2; its code reads 1'),
    (('--benchmark=geneval', '--prompts={prompts}', '--out={root}/geneval', *FLAGS,
      '--seed=3'), 'was begun with seed 0, not 3'),
    (('--benchmark=geneval', '--results={prompts}', '--seed=3'),
     '--seed is for drawing'),
    (('--benchmark=geneval', '--results={prompts}', '--sample.rule=apg'),
     '--sample.rule is for drawing'),
    (('--benchmark=geneval', '--results={prompts}'), "line 1, has no 'correct'"),
    (('--benchmark=geneval', '--results={root}/none'), 'No such file'),
    (('--benchmark=geneval', '--results={prompts}', '--out={root}/a.txt'),
     'a name that ends in .json is needed')])
def test_a_mistake_is_one_line_and_exit_code_2(root, prompts, commands, flags, message):
  code, out, err = commands.run('benchmark.py', *[
      flag.format(root=root, prompts=prompts) for flag in flags])
  assert code == 2 and message in err and err.count('\n') == 1, (code, err)
  assert 'Traceback' not in err and not out and not (root / 'n').exists()
