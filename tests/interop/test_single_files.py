"""Single files in the original layout, as diffusers reads them (make_single_files.py).
"""
import jax
import numpy as np
import pytest
from safetensors import numpy as storage

from helpers import pipelines, single_files
import inference
from inference import loading
from interop import original

DRAWN = np.load(single_files.FIXTURES / 'single_files' / 'drawn.npz')
FOLDERS = np.load(pipelines.MADE / 'drawn.npz')
PROMPTS, STEPS, GUIDANCE = ['a red circle', 'blue'], 4, 3.0  # of the fixture


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """{name: (the file, a base that has no weights, the model of the whole folder)}."""
  root, found = tmp_path_factory.mktemp('single'), {}
  for name in DRAWN:
    folder = pipelines.with_weights(name, root)
    path = single_files.write(name, folder, root / f'{name}.safetensors')
    whole = inference.load(str(folder))
    for file in folder.glob('*/*.safetensors'):
      file.unlink()
    found[name] = path, folder, whole
  return found


@pytest.mark.parametrize('name', ['sd15', 'sd21', 'sdxl'])
def test_the_file_has_the_weights_of_the_folder(name, made):
  """diffusers draws the same with either, so that equal weights are what is to be."""
  np.testing.assert_array_equal(DRAWN[name], FOLDERS[f'{name}/pictures'])
  path, base, whole = made[name]
  model = inference.load(str(path), base=str(base))
  jax.tree.map(np.testing.assert_array_equal, model.params, whole.params)


def test_draws_what_diffusers_draws_with_the_file(made):
  """Of Stable Diffusion 3, whose first summary is projected in folders alone."""
  path, base, _ = made['sd3']
  model = inference.load(str(path), base=str(base))
  got = inference.generate(model, PROMPTS, noise=FOLDERS['sd3/noise'], steps=STEPS,
                           guidance=GUIDANCE).astype(int)
  there = [np.round(255 * of).astype(int) for of in (
      DRAWN['sd3'], FOLDERS['sd3/pictures'])]
  assert abs(got - there[0]).max() <= 1 and abs(got - there[1]).max() > 2


def changed(path, out, **arrays):
  """A file with arrays added, or taken away where they are None; __ is a dot."""
  arrays = {name.replace('__', '.'): value for name, value in arrays.items()}
  whole = storage.load_file(path) | arrays
  storage.save_file({k: v for k, v in whole.items() if v is not None}, out)
  return str(out)


def notes_of(path, base):
  notes = []
  loading.pipeline_config(str(path), notes.append, base=str(base))
  return ' '.join(notes)


def test_the_last_block_of_stable_diffusion_2s_text_encoder_is_not_used(made, tmp_path):
  path, base, _ = made['sd21']
  spare = {'cond_stage_model__model__transformer__resblocks__2__ln_1__weight':
           np.zeros(16, np.float32)}
  model = inference.load(changed(path, tmp_path / 'more.safetensors', **spare),
                         base=str(base))
  assert model.params['text_encoder']['blocks']['norm_1']['norm']['scale'].shape[0] == 2


def test_averaged_weights_are_told_of_and_a_part_may_come_from_the_base(made, tmp_path):
  path, base, _ = made['sd15']
  assert 'model_ema' in notes_of(path, base)
  none = {name.replace('.', '__'): None for name in storage.load_file(path)
          if name.startswith('cond_stage_model')}
  assert (f'has no text_encoder: it is taken from {base}/text_encoder' in
          notes_of(changed(path, tmp_path / 'less.safetensors', **none), base))


def spoilt(**arrays):
  return lambda path, out: changed(path, out, **arrays)


ONES = np.ones(1, np.float32)
BAD = {
    'another part': ('sd15', spoilt(control_model__x=ONES), 'control_model.x'),
    'another pipeline': ('sd15', spoilt(text_encoders__clip_l__transformer__x=ONES),
                         'has text_encoder/clip_l'),
    'a name of no layer': ('sdxl', spoilt(model__diffusion_model__odd__weight=ONES),
                           'no place for odd.weight'),
    'a layer less': ('sdxl', spoilt(model__diffusion_model__out__2__bias=None),
                     'lacks out/bias'),
    'another schedule': ('sd15', spoilt(alphas_cumprod=np.linspace(
        0.9, 0.1, 1000, dtype=np.float32)), 'alphas_cumprod from 0.9000 to 0.1000'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_does_not_fit_is_named(case, made, tmp_path):
  name, spoil, said = BAD[case]
  path, base, _ = made[name]
  with pytest.raises(ValueError, match=said):
    inference.load(spoil(path, tmp_path / 'odd.safetensors'), base=str(base))


def test_another_layout_and_a_base_without_a_file_are_named(made, tmp_path):
  _, base, _ = made['sd15']
  storage.save_file({'lora.up': ONES}, tmp_path / 'lora.safetensors')
  with pytest.raises(ValueError, match='as a checkpoint of a whole pipeline'):
    inference.load(str(tmp_path / 'lora.safetensors'), base=str(base))
  with pytest.raises(ValueError, match='of none of stable-diffusion-v1-5'):
    inference.load(str(tmp_path / 'lora.safetensors'))
  with pytest.raises(ValueError, match='no file of a whole pipeline'):
    inference.load(str(base), base=str(base))


SIZES = {  # of what was published: names, the shapes that tell them apart, and the base
    'v1-5': ({'cond_stage_model.transformer.a': [1], original.FIRST: [320, 4, 3, 3]},
             'stable-diffusion-v1-5/stable-diffusion-v1-5'),
    'xl': ({'conditioner.embedders.1.model.a': [1], original.FIRST: [320, 4, 3, 3]},
           'stabilityai/stable-diffusion-xl-base-1.0'),
    'xl inpainting': ({'conditioner.embedders.1.model.a': [1],
                       original.FIRST: [320, 9, 3, 3]},
                      'diffusers/stable-diffusion-xl-1.0-inpainting-0.1'),
    '3': ({original.PLACES: [1, 36864, 8],
           'model.diffusion_model.joint_blocks.0.a': [1]},
          'stabilityai/stable-diffusion-3-medium-diffusers'),
    '3.5 medium': ({original.PLACES: [1, 147456, 2],
                    'model.diffusion_model.joint_blocks.0.a': [1]},
                   'stabilityai/stable-diffusion-3.5-medium'),
    '3.5 large': ({original.PLACES: [1, 36864, 8],
                   'model.diffusion_model.joint_blocks.37.a': [1]},
                  'stabilityai/stable-diffusion-3.5-large')}


@pytest.mark.parametrize('case', SIZES)
def test_the_base_is_the_one_that_diffusers_assumes(case, tmp_path, monkeypatch):
  """Of DIFFUSERS_DEFAULT_PIPELINE_PATHS; where nothing leads to it, that is said."""
  shapes, base = SIZES[case]
  path = tmp_path / 'a.safetensors'
  storage.save_file({k: np.zeros(v, np.int8) for k, v in shapes.items()}, path)
  assert original.base_of(path) == base
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  constants = pytest.importorskip('huggingface_hub.constants')
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
  with pytest.raises(ValueError, match=f'no tokenizer; that of {base} is sought'):
    inference.load(str(path))


def test_a_part_of_a_run_may_start_from_the_file(made):
  """A row of config.init_from."""
  path, _, whole = made['sdxl']
  got = loading.read_part('text_encoder/clip_g', str(path), whole.params)
  jax.tree.map(np.testing.assert_array_equal, got,
               whole.params['text_encoder']['clip_g'])
