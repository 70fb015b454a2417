"""train.py, sample.py, evaluate.py and export.py, from the command line."""
import importlib.util
import json
import os
import shutil
import signal
import time

import numpy as np
from PIL import Image
import pytest

from helpers.commands import logged, train


@pytest.fixture(scope='module')
def run(root, commands):
  """The workdir of a run that nothing disturbed."""
  (root / 'prompts.txt').write_text('a red ring\n\na blue star\n', encoding='utf-8')
  code, out, err = commands.run(*train(root, 'whole'))
  assert code == 0, err
  return root / 'whole'


def test_a_run_leaves_what_is_promised(run):
  assert {p.name for p in run.iterdir()} >= {
      'config.json', 'metrics.jsonl', 'checkpoints', 'samples', 'tensorboard',
      'tokenizer.json', 'data.json', 'machine.json', 'report.html'}
  lines = logged(run)
  assert [x['step'] for x in lines] == list(range(10, 121, 10))
  assert {'loss', 'grad_norm', 'lr', 'skipped', 'loss_t0'} <= lines[0].keys()
  losses = [x['loss'] for x in lines]
  assert np.mean(losses[-5:]) < 0.9 * losses[0]
  assert {p.name for p in (run / 'checkpoints').iterdir()} >= {'90', '120'}
  assert (run / 'samples' / '120.png').exists()
  assert any((run / 'tensorboard').iterdir())


def test_a_run_says_what_it_was_done_with(run):
  (start,) = json.loads((run / 'machine.json').read_text())
  assert start['step'] == 0 and start['devices'] == '1 x cpu'
  assert {'jax', 'jaxlib', 'flax', 'numpy'} <= start['packages'].keys()
  data = json.loads((run / 'data.json').read_text())
  assert (data['pictures'], data['bad'], data['left_out']) == (256, [], {})
  assert len(data['good']) == data['looked_at'] > 20
  assert all(x['tokens'] > 1 and x['caption'] for x in data["good"])


@pytest.mark.parametrize('words, message', (
    ((), 'a folder is needed'), (('nowhere',), 'nowhere: there is no such'),
    (('{run}/samples',), 'is no run (config.json)'), (('{run}', '{run}'), '--out='),
    (('{run}', '--out=a.txt'), 'ends in .html'), (('{run}', '--in=1'), 'in'),
    (('{run}', '{run}/evaluations', '--out={root}/a.html'), 'side by side')))
def test_a_mistake_of_report_is_one_line(root, run, commands, words, message):
  (run / 'evaluations').mkdir(exist_ok=True)
  code, out, err = commands.run('report.py', *(
      word.format(run=run, root=root) for word in words))
  assert (code, out, err.count('\n')) == (2, '', 1) and message in err, err


def test_trackers_of_a_run(root, run, commands):
  """None at all, and those that are refused before there is a workdir."""
  code, out, err = commands.run(*train(root, 'untracked'), '--config.train.steps=10',
                                '--config.train.trackers=()')
  assert code == 0 and not (root / 'untracked' / 'tensorboard').exists(), err
  for chosen, message in (("('wandb(mode=1)',)", 'mode is 1'),
                          ("('diary',)", 'not one of'), ("('mlflow',)", 'pip install')):
    if 'pip' in message and importlib.util.find_spec('mlflow'):
      continue
    code, out, err = commands.run(*train(root, 'refused'),
                                  f'--config.train.trackers={chosen}')
    assert (code, err.count('\n')) == (2, 1) and message in err, err
    assert 'config.train.trackers' in err and not (root / 'refused').exists()


def test_two_runs_make_one_report(root, run, commands):
  code, out, err = commands.run('report.py', run, run, f'--out={root}/both.html')
  assert (code, out) == (0, f'{root}/both.html\n'), err


def test_killed_at_any_moment_a_run_goes_on_bitwise(root, run, commands):
  workdir = root / 'killed'
  for step in (10, 70):  # that is logged just before the next kill
    process, path = commands.start(*train(root, 'killed')), workdir / 'metrics.jsonl'
    while not process.ended() and not (
        path.exists() and f'"step": {step},' in path.read_text()):
      time.sleep(0.005)
    process.send(signal.SIGKILL)
    assert process.wait()[0] == -signal.SIGKILL
  code, out, err = commands.run(*train(root, 'killed'))
  assert code == 0, err
  assert 'resumed at step' in out and 'resumed at step 0' not in out
  assert logged(workdir) == logged(run)


def test_asked_to_stop_a_run_saves_where_it_is(root, run, commands):
  process = commands.start(*train(root, 'asked'))
  while not process.ended() and '\nstep 50/' not in process.said():
    time.sleep(0.005)
  process.send(signal.SIGTERM)
  code, out, err = process.wait()
  assert code == 0 and 'as asked' in out, err
  last = logged(root / 'asked')[-1]['step']
  assert 50 <= last < 120 and (root / 'asked' / 'checkpoints' / str(last)).exists()
  code, out, err = commands.run(*train(root, 'asked'))
  assert code == 0, err
  assert logged(root / 'asked')[-1] == logged(run)[-1]


def test_trains_and_previews_on_a_mesh(root, commands):
  flags = ('--config.mesh.data=2', '--config.mesh.fsdp=2', '--config.mesh.tensor=2',
           '--config.train.steps=20', '--config.train.eval_every=20')
  code, out, err = commands.run(
      *train(root, 'mesh'), *flags, '--config.eval.num=4', devices=8)
  assert code == 0 and '8 cpu device(s)' in out, err
  code, out, err = commands.run(
      *train(root, 'six'), *flags, '--config.train.batch=6', devices=8)
  assert code == 2 and 'config.train.batch is 6' in err
  code, out, err = commands.run(*train(root, 'mesh'), '--config.train.steps=30')
  assert code == 0 and 'resumed at step 20' in out, err  # on one device now


def test_help_names_the_flags(commands):
  code, out, _ = commands.run('sample.py', '--help')
  assert code == 0 and '--guidance' in out


def test_a_finished_run_says_so(run, root, commands):
  code, out, _ = commands.run(*train(root, 'whole'))
  assert code == 0 and 'is at step 120' in out


def sample(commands, run, *rest, **kwargs):
  return commands.run('sample.py', f'--workdir={run}', *rest, **kwargs)


def test_one_picture_carries_its_settings(root, run, commands):
  out = root / 'one.png'
  code, said, err = sample(
      commands, run, '--prompt=a red ring', '--seed=5', f'--out={out}', '--solver=ddim',
      '--steps=2', '--guidance=1.5')
  assert code == 0 and said.strip() == str(out), err
  with Image.open(out) as picture:
    assert picture.size == (16, 16)
    assert picture.text['prompt'] == 'a red ring' and picture.text['seed'] == '5'
    assert picture.text['solver'] == 'ddim' and picture.text['guidance'] == '1.5'


def test_picture_i_of_a_prompt_is_the_same_in_any_batch_and_on_any_devices(
    root, run, commands):
  flags = ('--prompt=a blue star', f'--prompts={root}/prompts.txt', '--num=3')
  assert sample(commands, run, *flags, f'--out={root}/all/')[0] == 0
  names = [f'{i:04}.png' for i in range(9)]
  assert sorted(p.name for p in (root / 'all').iterdir()) == names
  assert sample(commands, run, *flags, '--batch=2', f'--out={root}/by_two/')[0] == 0
  code, _, err = sample(commands, run, *flags, f'--out={root}/eight/', devices=8)
  assert code == 0, err
  assert sample(commands, run, '--prompt=a red ring', '--num=2',
                f'--out={root}/alone/')[0] == 0
  def read(folder, i):
    return np.asarray(Image.open(root / folder / f'{i:04}.png')).astype(int)
  for i in range(9):
    for other in ('by_two', 'eight'):
      assert np.abs(read('all', i) - read(other, i)).max() <= 1
  for i in range(2):  # the second prompt's pictures, drawn without the others
    assert np.abs(read('all', 3 + i) - read('alone', i)).max() <= 1
  assert np.abs(read('all', 3) - read('all', 4)).max() > 1
  with Image.open(root / 'all' / '0004.png') as picture:
    assert picture.text['prompt'] == 'a red ring' and picture.text['index'] == '1'


def test_a_grid_and_a_film(root, run, commands):
  code, said, err = sample(
      commands, run, f'--prompts={root}/prompts.txt', '--num=3',
      '--negative=a blue star', f'--out={root}/grid.png', f'--film={root}/way.gif')
  assert code == 0 and said.split() == [f'{root}/grid.png', f'{root}/way.gif'], err
  with Image.open(root / 'grid.png') as grid:
    zoom = 96 // 16  # rows of three pictures, each under its caption
    assert grid.size == (3 * (16 * zoom + 4) + 4, 2 * (22 + 16 * zoom + 8))
    assert grid.text['negative'] == 'a blue star'
  with Image.open(root / 'way.gif') as film:
    assert film.n_frames == 3


def test_a_picture_dissolves_into_noise(root, run, commands):
  Image.new('RGB', (40, 30), (200, 30, 30)).save(root / 'red.png')
  code, said, err = sample(commands, run, f'--destroy={root}/red.png',
                           f'--film={root}/gone.gif')
  assert code == 0, err
  with Image.open(root / 'gone.gif') as film:
    first = np.asarray(film.convert('RGB')).astype(float)
    film.seek(film.n_frames - 1)
    last = np.asarray(film.convert('RGB')).astype(float)
  assert np.abs(first - (200, 30, 30)).max() < 16
  assert last.std() > 60


def test_a_long_prompt_says_what_is_cut(root, run, commands):
  code, _, err = sample(
      commands, run, f'--prompt={"red " * 50}', f'--out={root}/cut.png')
  assert code == 0 and 'tokens are cut' in err


def test_evaluates_and_exports(root, run, commands):
  code, out, err = commands.run('evaluate.py', f'--workdir={run}', '--num=8',
                               '--metrics=prompt_accuracy')
  assert code == 0, err
  (result,) = (run / 'evaluations').iterdir()
  assert out.splitlines()[-1] == str(result) and 'checkpoint_120' in result.name
  found = json.loads(result.read_text())['scores']
  for kind in ('one_object', 'two_objects', 'unseen_pairs'):
    score, scorer = found[f'accuracy/{kind}'], found[f'scorer/{kind}']
    assert kind in out and score['n'] == 8 and scorer['value'] == 1
    assert 0 <= score['low'] <= score['value'] <= score['high'] <= 1
  small = root / 'small'
  code, out, err = commands.run('export.py', f'--workdir={run}', f'--out={small}',
                               '--dtype=float32')
  assert code == 0, err
  assert {p.name for p in small.iterdir()} == {
      'config.json', 'tokenizer.json', 'weights.safetensors'}
  for workdir in (run, small):
    assert sample(commands, workdir, '--prompt=a red ring', '--num=4',
                  f'--out={root}/{workdir.name}.png')[0] == 0
  a, b = (np.asarray(Image.open(root / f'{w.name}.png')) for w in (run, small))
  assert (a == b).all()


def test_pictures_that_are_no_squares_are_trained_on_sampled_and_edited(root, commands):
  """config.data.size=(height, width), and --height and --width beyond it."""
  code, out, err = commands.run(
      *train(root, 'tall'), '--config.data.size=(24, 16)', '--config.train.steps=20',
      '--config.train.eval_every=20', '--config.eval.num=4')
  assert code == 0 and 'scorer/one_object' in out and '100.0%' in out, err
  run, first = root / 'tall', root / 'tall.png'
  code, _, err = sample(commands, run, '--prompt=a red ring', f'--out={first}')
  assert code == 0, err
  with Image.open(first) as picture:
    assert picture.size == (16, 24) and picture.text['size'] == '24 x 16'
  Image.new('RGB', (40, 20), (128, 128, 128)).save(root / 'wide_grey.png')
  half = np.zeros((12, 28), np.uint8)
  half[:, 14:] = 255
  Image.fromarray(half).save(root / 'wide_mask.png')
  code, _, err = sample(
      commands, run, '--prompt=a red ring', '--height=12', '--width=28',
      f'--image={root}/wide_grey.png', f'--mask={root}/wide_mask.png',
      '--fill=repaint(jump=2, repeats=2)', '--solver=ddpm', '--sample.clip=none',
      '--sample.rule=apg(momentum=-0.5)', f'--out={root}/wide.png')
  assert code == 0, err
  with Image.open(root / 'wide.png') as picture:
    assert picture.size == (28, 12)
    assert picture.text['fill'] == 'repaint(jump=2, repeats=2)'
    assert picture.text['mask'] == f'{root}/wide_mask.png'
    assert picture.text['size'] == '12 x 28' and 'invert' not in picture.text
    assert abs(np.asarray(picture).astype(int)[:, :14] - 128).max() <= 1
  code, _, err = sample(commands, run, '--prompt=x', '--height=13', '--out=x.png')
  assert code == 2 and 'multiples of 4' in err and err.count('\n') == 1, err


def test_a_student_is_distilled_from_a_run_and_drawn_with(root, run, commands):
  """A teacher beside the model, a scalar that it is told, and parts that start so."""
  teacher = root / 'teacher'
  assert commands.run('export.py', f'--workdir={run}', f'--out={teacher}')[0] == 0
  parts = [(part, str(teacher)) for part in ('teacher', 'backbone', 'text_encoder')]
  code, out, err = commands.run(
      *train(root, 'student'), '--config.train.steps=20',
      '--config.train.objective=guidance_distillation(low=1.0, high=4.0)',
      '--config.model.scalars=("guidance",)', f'--config.init_from={tuple(parts)!r}')
  assert code == 0 and 'more frozen' in out, err
  assert 'frozen as drawn at random' not in out
  assert logged(root / 'student')[0]['loss'] > 0
  pictures = {}
  for scale in (1, 4):
    code, _, err = sample(commands, root / 'student', '--prompt=a red ring', '--num=2',
                          f'--guidance={scale}', f'--out={root}/student{scale}.png')
    assert code == 0, err
    pictures[scale] = np.asarray(Image.open(root / f'student{scale}.png')).astype(int)
  assert abs(pictures[1] - pictures[4]).max() > 0  # it is told
  code, out, err = commands.run('export.py', f'--workdir={root}/student',
                                f'--out={root}/student_small')
  assert code == 0, err
  size = (root / 'student_small/weights.safetensors').stat().st_size
  assert size < 1.5 * (teacher / 'weights.safetensors').stat().st_size  # one network


def test_a_second_train_on_a_workdir_is_refused(root, commands):
  from training import checkpoint
  (root / 'held').mkdir()
  lock = checkpoint.lock(str(root / 'held'))
  code, _, err = commands.run(*train(root, 'held'))
  lock.close()
  assert code == 2 and 'is in use' in err and err.count('\n') == 1


def test_a_run_is_resumed_only_as_it_was(root, run, commands):
  code, _, err = commands.run(*train(root, 'whole'), '--config.model.width=32')
  assert code == 2 and 'config.model.width' in err
  code, out, err = commands.run('train.py', f'--workdir={run}')  # its own config
  assert code == 0 and 'is at step 120' in out, err


def test_many_steps_that_are_not_finite_stop_the_run(root, commands):
  code, out, err = commands.run(
      *train(root, 'sick'), '--config.optim.lr=1e30', '--config.optim.clip=1e30',
      '--config.optim.name=adamw', '--config.train.max_skipped=4')
  assert code == 2 and 'not finite' in err and 'step' in err and err.count('\n') == 1


BAD = {
    'no config': ('train.py --workdir={root}/new', '--config=FILE is needed'),
    'missing config': ('train.py --config=none.py --workdir={root}/new', 'none.py'),
    'config without a function': (
        'train.py --config={root}/empty.py --workdir={root}/new', 'get_config'),
    'config that does not parse': ('train.py --config={root}/broken.py '
                                   '--workdir={root}/new', 'broken.py'),
    'no such variant of a config': (
        'train.py --config=configs/papers/dit.py:foo --workdir={root}/new',
        "dit.py:foo: ValueError: 'foo' is not one of"),
    'no workdir': ('train.py --config={root}/tiny.py', '--workdir=FOLDER is needed'),
    'unknown key': ('{train} --config.train.stepz=3', "'steps'"),
    'unknown group': ('{train} --config.trian.steps=3', "'train'"),
    'key of the wrong type': ('{train} --config.train.steps=many',
                              'config.train.steps'),
    'unknown flag': ('{train} --bogus=1', 'bogus'),
    'a word that is no flag': ('{train} bogus', 'bogus'),
    'key that the file adds': ('train.py --config={root}/extra.py --workdir={root}/new',
                               "has a key 'stepz'"),
    'missing config over a run': ('train.py --config=none.py --workdir={run}',
                                  'none.py'),
    'key without a config': ('train.py --config.train.steps=3 --workdir={root}/new',
                             'need --config=FILE'),
    'negative width': ('{train} --config.model.width=-8', 'config.model.width is -8'),
    'zero in a tuple': ('train.py --config={root}/unet.py --workdir={root}/new '
                        '--config.model.channel_mult=(0,)', 'model.channel_mult'),
    'negative seed': ('{train} --config.seed=-1', 'config.seed is -1'),
    'a parameter without a rule': ('{train} --config.optim.weight_decay=(("x",0.0),)',
                                   'config.optim.weight_decay has no rule'),
    'weights of no part': ('{train} --config.init_from=(("x","{root}"),)',
                           "no 'x', only"),
    'weights of a parameter': (
        '{train} --config.init_from=(("backbone/out/kernel","{root}"),)', 'a single'),
    'weights from nowhere': ('{train} --config.init_from=(("backbone","{root}/no"),)',
                             'there is no such folder'),
    'weights without their tokenizer': (
        '{train} --config.init_from=(("text_encoder","{root}"),)',
        'config.tokenizer.files is to name'),
    'weights that do not fit': (
        '{train} --config.init_from=(("backbone","{root}/cut"),)', 'not a whole'),
    'weights of another form': ('{train} --config.init_from=(("backbone",1),)', 'rows'),
    'files of another length': ('{train} --config.tokenizer.files=(("x",77),)',
                                'add up to 77'),
    'an autoencoder that is trained': (
        '{train} --config.autoencoder.name=kl --config.data.size=32 '
        '--config.sample.clip=none', 'freeze it'),
    'a bound for latents': (
        '{train} --config.autoencoder.name=kl --config.data.size=32 '
        '--config.optim.lr_scale=(("autoencoder/.*",0.0),(".*",1.0))', 'which bounds'),
    'a network that is not told': ('{train} --config.diffusion.augment=0.1',
                                   'augment_labels=9'),
    'missing font': (
        'train.py --config={root}/tiny.py --workdir={root}/font '
        '--config.data.source=emoji --config.data.font={root}/n.ttf', 'n.ttf'),
    'half of --distributed': ('{train} --processes=2', '--distributed'),
    'negative steps': ('{train} --config.train.steps=-4', 'config.train.steps is -4'),
    'steps to trace': ('{train} --config.train.profile=(9,3)',
                       'config.train.profile is (9, 3)'),
    'no size': ('{train} --config.data.size=0', 'config.data.size is 0'),
    'an empty path': ('{train} --config.data.source=folder', "config.data.path is ''"),
    'no such tar': ('{train} --config.data.source=webdataset '
                    '--config.data.path={root}/*.tar', 'matches no file'),
    'too many bad': ('{train} --config.data.max_bad=2', 'config.data.max_bad is 2'),
    'unknown source': ('{train} --config.data.source=cats', "'cats', not one of"),
    'unknown model': ('{train} --config.model.name=dit9', "'dit9', not one of"),
    'unknown schedule': ('{train} --config.diffusion.schedule=x', "'x', not one of"),
    'unknown target': ('{train} --config.diffusion.target=x', "'x', not one of"),
    'unknown weight': ('{train} --config.diffusion.loss_weight=x', "'x', not one of"),
    'unknown times': ('{train} --config.diffusion.time_sampling=x', "'x', not one of"),
    'unknown optimizer': ('{train} --config.optim.name=x', "'x', not one of"),
    'unknown solver': ('{train} --config.sample.solver=x', "'x', not one of"),
    'a mesh larger than the devices': ('{train} --config.mesh.data=4', '1 device'),
    'a batch that parts do not divide': ('{train} --config.train.accumulate=3',
                                         'config.train.accumulate 3'),
    'a size that levels do not divide': ('{train} --config.model.patch=3', 'multiples'),
    'sample: no workdir': ('sample.py --prompt=x --out=x.png', '--workdir=FOLDER'),
    'sample: missing workdir': (
        'sample.py --workdir={root}/none --prompt=x --out=x.png', 'no such folder'),
    'sample: no run': ('sample.py --workdir={root}/nothing --prompt=x --out=x.png',
                       'holds no run'),
    'sample: no prompt': ('{sample} --out=x.png', '--prompt='),
    'sample: no out': ('{sample} --prompt=x', '--out=NAME.png'),
    'sample: no folder': ('{sample} --prompt=x --out={root}/none/x.png', 'no folder'),
    'sample: odd ending': ('{sample} --prompt=x --out={root}/x.jpg', 'NAME.png'),
    'sample: odd film': ('{sample} --prompt=x --film={root}/x.mp4', '.gif'),
    'sample: solver': ('{sample} --prompt=x --out=x.png --solver=rk9',
                       "'rk9', not one"),
    'sample: a prompt of bytes': ('{sample} --prompt=a\udcff --out=x.png', 'not UTF-8'),
    'sample: out is a folder': ('{sample} --prompt=x --out={root}/dir.png', 'dir.png'),
    'sample: num': ('{sample} --prompt=x --out=x.png --num=0', 'num'),
    'sample: steps': ('{sample} --prompt=x --out=x.png --steps=few', 'steps'),
    'sample: missing prompts': ('{sample} --prompts={root}/none.txt --out=x.png',
                                'none.txt'),
    'sample: empty prompts': ('{sample} --prompts={root}/blank.txt --out=x.png',
                              'has no prompt'),
    'sample: prompts not UTF-8': ('{sample} --prompts={root}/latin.txt --out=x.png',
                                  'not UTF-8'),
    'sample: cut weights': ('sample.py --workdir={root}/cut --prompt=x --out=x.png',
                            'not a whole safetensors file'),
    'sample: cut checkpoint': ('sample.py --workdir={root}/torn --prompt=x --out=x.png',
                               'no checkpoint in it can be read'),
    'sample: a negative prompt that does nothing': (
        '{sample} --prompt=x --out=x.png --guidance=1 --negative=y', '--negative has'),
    'sample: destroy and draw': ('{sample} --destroy=x --prompt=x --film={root}/x.gif',
                                 'takes no prompt'),
    'sample: destroy and edit': ('{sample} --destroy=x --image=y --film={root}/x.gif',
                                 'has no effect'),
    'sample: destroy nothing': (
        '{sample} --destroy={root}/none.png --film={root}/x.gif', 'none.png'),
    'sample: destroy text': ('{sample} --destroy={root}/tiny.py --film={root}/x.gif',
                             'not a picture'),
    'evaluate: unknown metric': ('evaluate.py --workdir={run} --metrics=fid9',
                                 "'fid9', not one of"),
    'evaluate: no run': ('evaluate.py --workdir={root}/nothing', 'holds no run'),
    'export: no out': ('export.py --workdir={run}', '--out=FOLDER'),
    'export: dtype': ('export.py --workdir={run} --out={root}/x --dtype=int4', 'dtype'),
}


@pytest.fixture(scope='module')
def broken(root, run):
  """Files and folders with something wrong."""
  (root / 'empty.py').write_text('')
  (root / 'dir.png').mkdir()
  (root / 'extra.py').write_text(
      (root / 'tiny.py').read_text().replace("'steps': 8", "'stepz': 3, 'steps': 8"))
  (root / 'broken.py').write_text('def get_config(:\n')
  (root / 'nothing').mkdir()
  (root / 'blank.txt').write_text(' \n\n')
  (root / 'latin.txt').write_bytes('a gr\xfcn star\n'.encode('latin-1'))
  (root / 'cut').mkdir()
  for name in ('config.json', 'tokenizer.json'):
    shutil.copy(run / name, root / 'cut')
  (root / 'cut' / 'weights.safetensors').write_bytes(b'\x10\0\0\0\0\0\0\0{"a":')
  shutil.copytree(run, root / 'torn')
  for path in (root / 'torn' / 'checkpoints').rglob('*'):
    if path.is_file():
      path.write_bytes(path.read_bytes()[:10])
  return root


@pytest.mark.parametrize('case', list(BAD))
def test_a_mistake_is_one_line_and_exit_code_2(broken, run, commands, case):
  line, expected = BAD[case]
  line = line.replace('{train}', f'train.py --config={broken}/tiny.py '
                      f'--workdir={broken}/new').replace(
      '{sample}', f'sample.py --workdir={run}').format(root=broken, run=run)
  code, out, err = commands.run(*line.split(' '))
  assert code == 2 and expected in err, (code, out, err)
  assert 'Traceback' not in err
  notes = [x for x in err.splitlines()  # what is told of what went on
           if 'is passed over' not in x and 'dropped what was set' not in x]
  assert len(notes) == 1 and notes[0].startswith(line.split('.py')[0]), err
  assert not os.path.exists('x.png') and not (broken / 'x.gif').exists()
  assert not (broken / 'new').exists(), 'a workdir was made for nothing'
