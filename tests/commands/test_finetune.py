"""The configs of fine-tuning: what they train, and that they run as their texts say."""
import importlib
import pathlib
import re

import jax
import numpy as np
from PIL import Image
import pytest

from configs import finetuning, validation
from helpers.commands import train
from helpers.pipelines import with_weights
from helpers.tiny import DIT, tiny
import inference
from inference import adapters, learned_tokens
import models
import training
from training import param_files, rules, sharding, train_state
from training import workdir as workdirs

FOLDER = pathlib.Path(finetuning.__file__).parent / 'finetune'
FILES = sorted(path.stem for path in FOLDER.glob('*.py'))


def module(name):
  return importlib.import_module(f'configs.finetune.{name}')


CASES = [(name, variant) for name in FILES for variant in module(name).get_config.names]
TRAINED = {'lora': 'lora/.*', 'dreambooth': 'lora/.*',
           'controlnet': 'backbone/control/.*',
           'textual_inversion': 'text_encoder/(.*/)?embed/new'}
ALWAYS = {('lora', 'shapes'), ('dreambooth', 'shapes'), ('textual_inversion', 'shapes'),
          ('controlnet', 'shapes')}
COUNTS = {  # numbers that are trained; LoRA's of rank 8 is twice the published 797,184
    ('controlnet', 'sd15'): 361_279_120,  # as diffusers' ControlNetModel
    ('lora', 'sd15'): 1_594_368, ('dreambooth', 'sd15'): 3_188_736,
    ('textual_inversion', 'sd15'): 768, ('textual_inversion', 'sdxl'): 768 + 1280}


@pytest.mark.parametrize('name', FILES)
def test_a_config_is_described(name):
  told = ' '.join(module(name).__doc__.split())
  assert f'--config=configs/finetune/{name}.py' in told
  assert re.search(r'arXiv:\d{4}\.\d{5}', told)


def marked():
  """Each file at one size in every run of the tests; `make long` has the others."""
  return [pytest.param(*case, marks=() if case in ALWAYS else pytest.mark.long)
          for case in CASES]


@pytest.mark.parametrize('name, variant', marked())
def test_a_config_trains_what_it_says(name, variant):
  c = module(name).get_config(variant)
  validation.check(c)
  full = (name, variant) in COUNTS
  if not full:  # a small one of the same names
    c = module(name).get_config(f'{variant},reduced')
  made = training.build(c, sharding.make_mesh(1))
  for at in rules.by_name(made.shapes.params):
    assert re.fullmatch(TRAINED[name], at)
  if full:
    assert train_state.count(made.shapes.params) == COUNTS[name, variant]
    assert {x.dtype.name for x in jax.tree.leaves(made.shapes.frozen)} == {'bfloat16'}


def hearts(folder, captions):
  """Pictures of a shape that the shapes world does not have."""
  folder.mkdir(parents=True)
  x, y = np.meshgrid(np.linspace(-1.4, 1.4, 20), np.linspace(1.4, -1.4, 20))
  heart = (x**2 + y**2 - 1) ** 3 - x**2 * y**3 < 0
  for i in range(4):
    image = np.full((32, 32, 3), 240, np.uint8)
    image[2 + 3 * i:22 + 3 * i, 10 - 3 * i:30 - 3 * i][heart] = (235, 110, 170)
    Image.fromarray(image).save(folder / f'{i}.png')
    (folder / f'{i}.txt').write_text(captions)
  return folder


def run(commands, root, name, captions, *flags):
  """Trains a config for a few steps from the weights that the project ships."""
  folder = hearts(root / f'{name} pictures' / 'a sks heart', captions)
  code, out, err = commands.run(
      'train.py', f'--config=configs/finetune/{name}.py:shapes',
      f'--workdir={root}/{name}', f'--config.data.path={folder}',
      f'--config.data.dir={root}/data', '--config.train.steps=4',
      '--config.train.batch=4', '--config.train.log_every=2', *flags,
      '--config.train.checkpoint_every=4', '--config.train.sample_every=0')
  assert code == 0, err
  return root / name


def pictures(commands, root, *flags):
  out = root / 'out.png'
  code, _, err = commands.run('sample.py', *flags, '--steps=3', '--num=2',
                              f'--out={out}')
  assert code == 0, err
  with Image.open(out) as image:
    return np.asarray(image), image.text


def export(commands, *flags):
  code, _, err = commands.run('export.py', *flags)
  assert code == 0, err


def exported(folder, tokenizer):
  """An exported workdir of the small transformer, with random parameters."""
  folder.mkdir()
  c = tiny(str(folder))
  c.model = dict(DIT)
  shapes = models.param_shapes(models.build(c, tokenizer.get_vocab_size()), (16, 16),
                               c.tokenizer.length)
  rng = np.random.default_rng(0)
  workdirs.save_config(str(folder), c)
  (folder / 'tokenizer.json').write_text(tokenizer.to_str())
  param_files.save(str(folder / param_files.FILE), jax.tree.map(
      lambda p: np.float32(0.2 * rng.normal(size=p.shape)), shapes), 'float32', {})


def test_adapters_from_training_to_pictures(commands, root, tokenizer):
  """In a run, merged into an export, and alone beside the base: the same picture."""
  short = ('--config.train.steps=10', '--config.train.checkpoint_every=10')
  exported(root / 'weights', tokenizer)
  starts = tuple((part, f'{root}/weights') for part in ('text_encoder', 'backbone'))
  code, out, err = commands.run(
      *train(root, 'adapted'), *short, f'--config.init_from={starts}',
      "--config.lora.layers=('backbone/blocks/(self/.*|mlp/up)',)",
      "--config.optim.lr_scale=(('lora/.*', 1.0), ('.*', 0.0))",
      '--config.optim.frozen_dtype=bfloat16')
  assert code == 0 and re.search(r'[\d,]+ parameters, [\d,]+ more frozen', out), err
  workdir, file = f'{root}/adapted', root / 'a.safetensors'
  export(commands, f'--workdir={workdir}', f'--out={root}/merged', '--dtype=float32')
  export(commands, f'--workdir={workdir}', f'--lora={file}')
  before = inference.load(f'{root}/weights')
  def drawn(params):  # by one compiled program
    return inference.generate(before.replace(params=params), ['a red ring'], steps=3)
  of_run = drawn(inference.load(workdir).params)
  np.testing.assert_array_equal(of_run, drawn(inference.load(f'{root}/merged').params))
  base_of_run = jax.tree.map(  # which lies in bfloat16
      lambda p: p.astype('bfloat16'), before.params)
  for given, expected in ((str(file), of_run), (f'{file}:0', drawn(base_of_run))):
    model = inference.add_adapters(before.replace(params=base_of_run), given)
    np.testing.assert_array_equal(drawn(model.params), expected)
  _, notes = pictures(commands, root, f'--workdir={root}/weights', f'--lora={file}:2',
                      '--prompt=a red ring')
  assert 'a.safetensors:2' in notes['lora']
  code, _, err = commands.run('export.py', f'--workdir={workdir}', '--layout=peft',
                              f'--lora={root}/peft.safetensors')
  assert code == 2 and "has no name in the layout 'peft'" in err
  assert not list(root.glob('peft.safetensors*'))
  code, _, err = commands.run('export.py', f'--workdir={root}/weights',
                              f'--lora={root}/none.safetensors')
  assert code == 2 and 'has no adapters' in err


@pytest.mark.long
def test_a_style_is_learned(commands, root):
  workdir = run(commands, root, 'lora', 'a pink heart')
  pictures(commands, root, f'--workdir={workdir}', '--prompt=a pink heart')


@pytest.mark.long
def test_a_word_is_learned_and_read_back(commands, root):
  workdir = run(commands, root, 'textual_inversion', 'a <toy>')
  drawn, _ = pictures(commands, root, f'--workdir={workdir}', '--prompt=a <toy>')
  file = root / 'toy.safetensors'
  export(commands, f'--workdir={workdir}', f'--embedding={file}')
  export(commands, f'--workdir={workdir}', f'--out={root}/whole', '--dtype=float32')
  for flags in (('--workdir=weights/shapes', f'--embedding={file}'),
                (f'--workdir={root}/whole',)):
    again, _ = pictures(commands, root, *flags, '--prompt=a <toy>')
    assert abs(again.astype(int) - drawn).max() <= 1


@pytest.mark.long
def test_a_controlnet_is_trained_and_led_by(commands, root):
  """From the shipped weights: all but the copy stays; a picture then has an effect."""
  workdir = run(commands, root, 'controlnet', 'a pink heart')
  model, base = inference.load(str(workdir)), inference.load('weights/shapes')
  params = dict(model.params['backbone'])
  control = params.pop('control')
  jax.tree.map(np.testing.assert_array_equal, params, base.params['backbone'])
  copied = jax.tree.leaves(jax.tree.map(
      lambda new, old: abs(new - old).max(), *(
          {name: of[name] for name in control if name in params}
          for of in (control, params))))
  moved = max(abs(leaf).max() for name, of in control.items() if 'zero' in name
              for leaf in jax.tree.leaves(of))
  assert 0 < max(copied) < 0.1 and moved > 0 and len(copied) > 30
  sketch = root / 'a pink heart.png'
  Image.fromarray(np.uint8(255 * np.eye(32)[..., None] * np.ones(3))).save(sketch)
  flags = [f'--workdir={workdir}', '--prompt=a red ring']
  _, notes = pictures(commands, root, *flags, f'--control={sketch}')
  assert notes['control'] == str(sketch)
  code, _, err = commands.run('sample.py', *flags, f'--out={root}/none.png')
  assert code == 2 and '--control' in err


@pytest.mark.long
def test_a_subject_beside_its_class(commands, root):
  """Half of the pictures are what the model drew itself, by a folder's name."""
  prior = root / 'prior' / 'a red circle'
  prior.mkdir(parents=True)
  code, _, err = commands.run('sample.py', '--workdir=weights/shapes', '--steps=3',
                              '--prompt=a red circle', '--num=4', f'--out={prior}/')
  assert code == 0, err
  subject = hearts(root / 'subject' / 'a sks heart', 'x').parent
  mixture = tuple((1.0, {'path': str(path)}) for path in (subject, prior.parent))
  workdir = run(commands, root, 'dreambooth', 'x', f'--config.data.mixture={mixture}')
  pictures(commands, root, f'--workdir={workdir}', '--prompt=a sks heart')


def test_from_python(tmp_path):
  """What docs/finetuning.md shows."""
  model = inference.load('weights/shapes')
  with pytest.raises(ValueError, match='has no adapters'):
    adapters.save_adapters('weights/shapes', model.config, str(tmp_path / 'a'), 'ours')
  assert inference.add_adapters(model) is not None
  assert learned_tokens.add_tokens(model) is model
  assert adapters.modules_of(model.config, model.module)[0].family == 'unet'
  assert isinstance(model.module, models.text_to_image.TextToImage)


@pytest.mark.long
def test_a_public_pipeline_is_adapted_and_given_back(commands, root):
  """Weights of diffusers in, adapters trained, a pipeline out with them inside."""
  public = with_weights('sd15', root)
  c = inference.loading.pipeline_config(str(public))
  c.data.update(dict(dir=f'{root}/data', pictures=64))
  c.tokenizer.vocab = c.condition.vocab
  c.lora.layers = (finetuning.ATTENTION,)
  c.optim.lr_scale = (('lora/.*', 1.0), ('.*', 0.0))
  c.train.update(dict(batch=4, steps=2, log_every=2, checkpoint_every=2))
  c.sample.update(dict(prompts=('a red circle',), num=2, steps=2))
  (root / 'public.py').write_text(
      'from configs import base\nfrom ml_collections import ConfigDict\n\n'
      f'def get_config():\n  return base.lock(ConfigDict({c.to_dict()!r}))\n')
  code, _, err = commands.run('train.py', f'--config={root}/public.py',
                              f'--workdir={root}/given')
  assert code == 0, err
  for layout in ('peft', 'kohya'):
    export(commands, f'--workdir={root}/given', f'--layout={layout}',
           f'--lora={root}/{layout}.safetensors')
  export(commands, f'--workdir={root}/given', '--format=diffusers', '--dtype=float32',
         f'--out={root}/back')
  drawn, _ = pictures(commands, root, f'--workdir={root}/given', '--prompt=blue')
  for flags in ([f'--weights={root}/back'],
                [f'--weights={public}', f'--lora={root}/peft.safetensors'],
                [f'--weights={public}', f'--lora={root}/kohya.safetensors']):
    again, _ = pictures(commands, root, *flags, '--prompt=blue')
    assert abs(again.astype(int) - drawn).max() <= 1
  assert (root / 'back' / 'README.md').exists()
  code, _, err = commands.run('export.py', f'--workdir={root}/given', '--format='
                              'diffusers', f'--out={root}/back')
  assert code == 2 and 'is there already' in err
  code, _, err = commands.run('export.py', f'--workdir={root}/given', '--format='
                              'diffusers', f'--out={root}/odd', '--solver=adaptive')
  assert code == 2 and "config.sample.solver is 'adaptive'" in err
  assert not list(root.glob('odd*'))
