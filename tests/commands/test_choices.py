"""The choices of configs/, and editing, from the command line."""
import json

import numpy as np
from PIL import Image
import pytest

from helpers.pipelines import with_weights

ODD = (  # one run that takes every path that others do not
    '--config.diffusion.learned_weight=True',
    '--config.diffusion.time_sampling=adaptive', '--config.diffusion.loss_over=time',
    '--config.diffusion.schedule=edm',
    '--config.diffusion.target=edm(data_std=0.5)', '--config.diffusion.input_std=0.5',
    '--config.diffusion.loss_weight=soft_min_snr(gamma=4)',
    '--config.optim.ema=("power(std=0.05)","power(std=0.1)")',
    '--config.train.averages_every=4', '--config.train.steps=12',
    '--config.sample.rule=apg(momentum=-0.5)', '--config.sample.interval=(0.0,0.4)',
    '--config.sample.timesteps=karras', '--config.sample.rescale=0.5',
    '--config.sample.over_time=linear', '--config.sample.clip=dynamic')


@pytest.fixture(scope='module')
def odd(root, commands):
  code, out, err = commands.run('train.py', f'--config={root}/tiny.py',
                               f'--workdir={root}/odd', *ODD)
  assert code == 0, err
  Image.fromarray(np.full((20, 16, 3), 128, np.uint8)).save(root / 'grey.png')
  half = np.zeros((16, 16), np.uint8)
  half[:, 8:] = 255
  Image.fromarray(half).save(root / 'half.png')
  return root / 'odd'


def sample(commands, odd, *flags):
  code, out, err = commands.run('sample.py', f'--workdir={odd}', '--steps=3', *flags)
  return code, err


def pixels(path):
  return np.asarray(Image.open(path).convert('RGB')).astype(int)


def scores_of(out: str) -> dict:
  """What evaluate.py has written, whose path is the last line that it prints."""
  with open(out.splitlines()[-1]) as f:
    return json.load(f)['scores']


def test_every_choice_trains_and_draws(odd):
  assert (odd / 'samples' / '12.png').exists()
  assert {p.name for p in (odd / 'averages').iterdir()} == {'4', '8', '12'}
  lines = [json.loads(line) for line in open(odd / 'metrics.jsonl')]
  assert all(np.isfinite(x['loss']) for x in lines)


def test_an_average_is_made_afterwards(odd, commands, root):
  code, out, err = commands.run('export.py', f'--workdir={odd}', '--ema=0.08',
                               f'--out={root}/after')
  assert code == 0, err
  code, out, err = commands.run('export.py', f'--workdir={odd}', '--ema=0.5',
                               f'--out={root}/never')
  assert code == 2 and '0.288' in err


def test_what_is_not_masked_stays(odd, commands, root):
  code, err = sample(
      commands, odd, '--prompt=a red ring', f'--image={root}/grey.png',
      f'--mask={root}/half.png', '--sample.clip=none', f'--out={root}/masked.png')
  assert code == 0, err
  assert (abs(pixels(root / 'masked.png')[:, :8] - 128) <= 1).all()
  with Image.open(root / 'masked.png') as picture:  # what was edited, and how
    assert picture.text['image'] == f'{root}/grey.png'
    assert picture.text['mask'] == f'{root}/half.png'
    assert not {'fill', 'strength', 'weak'} & set(picture.text)


def test_the_noise_of_a_picture_is_found(odd, commands, root):
  code, err = sample(
      commands, odd, '--prompt=a red ring', f'--image={root}/grey.png',
      '--invert=a blue ring', '--sample.rule=cfg', f'--out={root}/inverted.png')
  assert code == 0 and 'leads back to it within' in err


def test_the_ends_of_an_interpolation_are_the_prompts(odd, commands, root):
  flags = ('--sample.rule=cfg', '--solver=ddim')
  code, err = sample(commands, odd, '--prompt=a red ring', '--prompt=a blue star',
                     '--interpolate=3', '--to_seed=7', f'--out={root}/way/', *flags)
  assert code == 0, err
  for name, prompt, seed in (('0000', 'a red ring', 0), ('0002', 'a blue star', 7)):
    code, err = sample(commands, odd, f'--prompt={prompt}', f'--seed={seed}',
                       f'--out={root}/end.png', *flags)
    assert code == 0, err
    assert abs(pixels(root / 'end.png') - pixels(root / f'way/{name}.png')).max() <= 1


def test_a_run_guided_away_from_itself_stays(odd, commands, root):
  flags = ('--prompt=a red ring AND a star:0.5', '--sample.rule=cfg',
           '--sample.rescale=0')
  assert sample(commands, odd, *flags, f'--weak={odd}', '--guidance=4',
                f'--out={root}/weak.png')[0] == 0
  assert sample(commands, odd, *flags, '--guidance=1', f'--out={root}/own.png')[0] == 0
  assert abs(pixels(root / 'weak.png') - pixels(root / 'own.png')).max() <= 2


def test_a_public_pipeline_is_drawn_with(commands, root):
  at = with_weights('sd15', root)
  code, out, err = commands.run(
      'sample.py', f'--weights={at}', '--prompt=a red circle', '--steps=2', '--num=2',
      f'--out={root}/public/')
  assert code == 0, err
  with Image.open(root / 'public' / '0001.png') as picture:
    assert picture.size == (16, 16) and picture.text['solver'] == 'ddim'
    assert picture.text['weights'] == 'sd15, public weights'
  for flags, said in (((f'--weights={at}', f'--workdir={at}'), 'give one of them'),
                      ((f'--weights={root}',), 'no model_index.json'),
                      ((f'--weights={root}/none',), 'no model_index.json')):
    code, out, err = commands.run('sample.py', *flags, '--prompt=x',
                                 f'--out={root}/x.png')
    assert code == 2 and said in err and err.count('\n') == 1, err


def test_bits_a_dimension_are_printed(odd, commands):
  code, out, err = commands.run('evaluate.py', f'--workdir={odd}', '--steps=3',
                               '--metrics=bits_per_dim', '--num=3', '--batch=2')
  assert code == 0, err
  score = scores_of(out)['bits_per_dim']
  assert score['n'] == 3 and score['low'] < score['value'] < score['high']


def test_a_bound_of_what_has_no_steps_is_refused(odd, commands):
  code, out, err = commands.run('evaluate.py', f'--workdir={odd}', '--metrics=vlb')
  assert code == 2 and 'discrete steps of training' in err, err


@pytest.mark.long
def test_a_reduced_paper_is_trained_as_the_readme_says(commands, root):
  paper = 'configs/papers/dit.py:b,reduced'
  code, out, err = commands.run('train.py', f'--config={paper}',
                               '--config.train.steps=10', f'--workdir={root}/small')
  assert code == 0, err
  code, out, err = commands.run('sample.py', f'--workdir={root}/small',
                               '--prompt=a red circle', f'--out={root}/small.png')
  assert code == 0, err


@pytest.mark.long
def test_a_learned_variance_is_trained_drawn_with_and_measured(commands, root):
  paper = 'configs/papers/improved_ddpm_cifar10.py:reduced'
  steps = ('--config.diffusion.schedule=cosine(steps=50)', '--config.train.steps=10')
  code, out, err = commands.run('train.py', f'--config={paper}', *steps,
                               f'--workdir={root}/learned')
  assert code == 0, err
  sharp = ('--sample.timesteps=trailing(trained=50)', f'--workdir={root}/learned')
  code, out, err = commands.run('sample.py', *sharp, '--prompt=a red ring',
                               '--num=2', '--steps=5', f'--out={root}/learned.png')
  assert code == 0, err
  found = {}
  for variance in ('learned', 'large', 'posterior'):
    code, out, err = commands.run(
        'evaluate.py', *sharp, '--metrics=vlb', '--num=4', '--batch=4',
        f"--solver=ddpm(variance='{variance}')")
    assert code == 0, err
    found[variance] = scores_of(out)['vlb']['value']
  assert 0 < found['learned'] < found['posterior']


BAD = {
    'mask without image': ('--mask=x.png', '--mask needs --image'),
    'strength': ('--image=x.png --strength=2', '--strength is 2.0'),
    'all noise': ('--image=x.png', 'lost in noise'),
    'no picture': ('--image=none.png --strength=0.5', 'none.png'),
    'fill': ('--fill=repaint', '--fill is for --mask'),
    'unknown fill': ('--image={root}/grey.png --mask={root}/half.png --fill=x',
                     "'x', not one of ['blend', 'network', 'repaint']"),
    'invert by chance': ('--image={root}/grey.png --invert=x --solver=ddpm',
                         'draws no noise'),
    'mask and invert': ('--image=x.png --mask=x.png --invert=x', 'are two ways'),
    'interpolate to nothing': ('--interpolate=3', 'needs a second --prompt'),
    'weak run': ('--weak={root}/none', '--weak={root}/none'),
    'weak without guidance': ('--weak={run} --guidance=1', '--weak has no effect'),
    'interpolate': ('--interpolate=3 --image=x.png --strength=0.5', '--interpolate'),
    'option': ('--solver=ddim(etta=1)',
               "no option 'etta'; its options are ['eta', 'stride']"),
    'value': ('--solver=unipc(order=9)', 'order is 9; unipc takes 1, 2 or 3'),
    'key': ('--sample.timestep=karras', "did you mean 'timesteps'"),
    'no variance': ("--solver=ddpm(variance='learned')",
                    'predicts no variance: it takes config.model.out_channels=6'),
    'film of adaptive': ('--solver=adaptive --film={root}/a.gif', 'no film'),
}


@pytest.mark.parametrize('case', list(BAD))
def test_a_mistake_is_one_line_and_exit_code_2(odd, commands, root, case):
  flags, expected = (x.format(root=root, run=odd) for x in BAD[case])
  code, out, err = commands.run(
      'sample.py', f'--workdir={odd}', '--prompt=x', '--sample.rule=cfg',
      f'--out={root}/bad.png', *flags.split())
  assert code == 2 and expected in err and 'Traceback' not in err, err
  assert err.count('\n') == 1 and not (root / 'bad.png').exists()


@pytest.mark.parametrize('flag, expected', [
    ('--config.diffusion.loss_weight=p2(gama=1)', "no option 'gama'"),
    ('--config.diffusion.schedule=flow(zero_snr=True)', 'has it already'),
    ('--config.diffusion.time_sampling=mode(scale=3)', 'mode takes -1 to 1.75'),
    ('--config.model.pos_scale=far', "pos_scale is 'far'; it must be like 1.0"),
    ('--config.model.out_channels=2.5', 'out_channels is 2.5; it must be like 0'),
    ('--config.model.rope=True', "'dit' takes only ['adaln_single'"),
    ('--config.optim.lr_scale=(".*",0.1)', "has '.*'; its rows are like"),
    ('--config.diffusion.schedule=linear(steps=10.5)', 'steps is 10.5; it must be'),
    ('--config.diffusion.vlb=-1', 'must be finite and not negative'),
    ('--config.diffusion.vlb=0.001', "'flow' has none, unlike 'linear(steps"),
    ('--config.diffusion.vlb=0.001 --config.diffusion.schedule=linear(steps=1000)',
     'predicts no variance'),
    ('--config.train.objective=dispersive(block=1)', 'outputs of 1 blocks'),
    ('--config.train.objective=consistency(steps=nan)', 'steps'),
    ('--config.eval.metrics=("fid9",) --config.train.eval_every=2', "is 'fid9', not"),
    ('--config.optim.ema=("power(std=0.4)",)', '0.288')])
def test_a_choice_that_makes_no_sense_is_refused(commands, root, flag, expected):
  code, out, err = commands.run(
      'train.py', f'--config={root}/tiny.py', f'--workdir={root}/new', *flag.split())
  assert code == 2 and expected in err and not (root / 'new').exists(), err
