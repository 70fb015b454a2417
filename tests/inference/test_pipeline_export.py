"""Exported pipelines: names, shapes and files as diffusers', bits as ours, and pictures
as drawn here."""
import functools
import json

import jax
import numpy as np
import pytest
from safetensors import numpy as storage

from helpers.pipelines import MADE, PARTS, with_weights
from helpers.references import FIXTURES
import inference
from inference import model_card, pipeline_export
from interop import scheduler_search, schedulers
from interop.part import Part
from training.param_files import DTYPES

CASES = json.loads((FIXTURES / 'schedulers.json').read_text())['cases']
ALWAYS = 'sd15', 'sdxl', 'sd3', 'pixart'  # in every run of the tests
NAMES = [pytest.param(name, marks=[pytest.mark.long] * (name not in ALWAYS))
         for name in sorted(PARTS) if name != 'sdxl_refiner']
SHOWN = {'sd_inpaint', 'sd_instruct', 'sdxl_inpaint', 'sdxl_refiner'}  # take pictures
COMPUTED = {'pos_embed.pos_embed'}  # what a module keeps, but does not learn
OTHER = {  # fields that may be written another way and mean the same
    '_diffusers_version', '_class_name', 'transformers_version', 'pad_token_id',
    'dtype', 'architectures', 'interpolation_scale', 'addition_time_embed_dim',
    'norm_num_groups', 'transformer_layers_per_block', 'attention_head_dim',
    'use_additional_conditions', 'projection_class_embeddings_input_dim'}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  """name -> (the model of a small pipeline, the folder that it is exported to)."""
  root, out = (tmp_path_factory.mktemp(name) for name in ('public', 'exported'))
  def make(name):
    model = inference.load(str(with_weights(name, root)))
    (out / name).mkdir()
    pipeline_export.export(model, str(out / name))
    return model, out / name
  return functools.cache(make)


@pytest.mark.parametrize('name', NAMES)
def test_what_is_exported_is_read_with_the_same_bits(name, exported):
  model, folder = exported(name)
  again = inference.load(str(folder))
  jax.tree.map(np.testing.assert_array_equal, model.params, again.params)
  assert repr(model.module) == repr(again.module)
  for key in ('diffusion', 'tokenizer', 'data'):
    assert pipeline_export.alike(
        {k: v for k, v in model.config[key].items() if k != 'files'},
        {k: v for k, v in again.config[key].items() if k != 'files'})
  for text in ('', 'a red circle', 'Blue  SQUARE! <|endoftext|>'):
    np.testing.assert_array_equal(model.tokenizer.ids(text)[0],
                                  again.tokenizer.ids(text)[0])


@pytest.mark.parametrize('name', NAMES)
def test_files_have_the_names_and_shapes_of_diffusers_modules(name, exported):
  """Each array that the modules have, and each field that says what they compute."""
  _, folder = exported(name)
  for module, (_, shapes) in PARTS[name].items():
    (path,) = (folder / module).glob('*.safetensors')
    got = {key: list(value.shape) for key, value in storage.load_file(path).items()
           if key not in COMPUTED}
    if module.startswith('text_encoder') and not any(
        key.startswith('text_model.') for key in shapes):
      got = {key.removeprefix('text_model.'): shape for key, shape in got.items()}
    assert got == shapes
    ours, theirs = (json.loads((root / module / 'config.json').read_text())
                    for root in (folder, MADE / name))
    odd = {key: (value, theirs[key]) for key, value in ours.items()
           if key in theirs and key not in OTHER and value != theirs[key]}
    assert not odd, module
  ours, theirs = (json.loads((root / 'model_index.json').read_text())
                  for root in (folder, MADE / name))
  tokenizers = {key for key in ours if key.startswith('tokenizer')}
  assert ours.keys() <= theirs.keys() | {'_diffusers_version', 'image_encoder'}
  assert {k: v for k, v in ours.items() if k not in tokenizers | {
      'scheduler', '_diffusers_version'}} == {k: theirs[k] for k in ours if k not in (
          tokenizers | {'scheduler', '_diffusers_version'})}


@pytest.mark.long
@pytest.mark.parametrize('name', sorted(PARTS.keys() - SHOWN))
def test_diffusers_draws_what_is_drawn_here(name, exported):
  """From disk, as a user would; the same noise, within one level of 256."""
  diffusers = pytest.importorskip('diffusers', reason='needs torch and diffusers')
  torch = pytest.importorskip('torch')
  model, folder = exported(name)
  without = dict(text_encoder_3=None, tokenizer_3=None) if 'without' in name else {}
  pipe = diffusers.DiffusionPipeline.from_pretrained(str(folder), **without)
  noise = np.load(MADE / 'drawn.npz')[f'{name}/noise']
  prompts, steps, guidance = ['a red circle', 'blue'], 4, 3.0
  more = dict(use_resolution_binning=False, clean_caption=False) if (
      name.startswith('pixart')) else {}
  with torch.no_grad():
    theirs = pipe(prompts, num_inference_steps=steps, guidance_scale=guidance,
                  output_type='np', latents=torch.tensor(noise).permute(0, 3, 1, 2),
                  **more).images
  ours = inference.generate(model, prompts, noise=noise, steps=steps, guidance=guidance)
  assert abs(np.round(255 * theirs) - ours.astype(int)).max() <= 1


def test_a_refiner_is_no_pipeline_of_ours(tmp_path):
  """It is refused by the field that the files cannot say."""
  model = inference.load(str(with_weights('sdxl_refiner', tmp_path)))
  (tmp_path / 'out').mkdir()
  with pytest.raises(ValueError, match="config.model has scored"):
    pipeline_export.export(model, str(tmp_path / 'out'))


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
def test_weights_have_the_number_format_that_is_asked_for(dtype, exported, tmp_path):
  model, _ = exported('sd15')
  pipeline_export.export(model, str(tmp_path), dtype)
  path = tmp_path / 'unet' / pipeline_export.WEIGHTS['diffusers']
  assert {value.dtype for value in storage.load_file(path).values()} == {
      np.dtype(DTYPES[dtype])}


REFUSED = 'sigma_min', 'lambda_min_clipped', 'sigma_schedule', 'rho'  # no such search


@pytest.mark.parametrize('i', range(len(CASES)))
def test_a_scheduler_is_found_that_means_what_was_meant(i):
  """Of files that schedulers.py reads: another file may come out, that reads alike."""
  name, fields, *_ = CASES[i]
  part = Part('a', fields={'_class_name': f'{name}Scheduler'} | fields)
  read = schedulers.SCHEDULERS[f'{name}Scheduler'](part)
  wanted = pipeline_export.drawn_by(read['diffusion'], read['sample'])
  found = scheduler_search.find(
      {key: wanted[key] for key in ('schedule', 'target')},
      lambda other: pipeline_export.alike(
          pipeline_export.drawn_by(other['diffusion'], other['sample']), wanted),
      wanted['solver'][1] | wanted['timesteps'][1])
  if found is None:
    levels = [key for key in fields if key.startswith('use_') and fields[key]]
    assert 'EDM' in name or set(fields) & set(REFUSED) or name.startswith('Flow') and (
        levels), fields
    return
  again = schedulers.SCHEDULERS[found['_class_name']](Part('a', fields=found))
  assert pipeline_export.alike(
      pipeline_export.drawn_by(again['diffusion'], again['sample']), wanted)


def changed(model, **fields):
  """A model whose config has other values: {'section.key': value}."""
  c = model.config.copy_and_resolve_references().unlock()
  for key, value in fields.items():
    section, name = key.split('__')
    del c[section][name]
    c[section][name] = value
  return model.replace(config=c)


BAD = {
    'solver': (dict(sample__solver='adaptive'), "config.sample.solver is 'adaptive'"),
    'times': (dict(sample__timesteps='flux'), "timesteps 'flux': diffusers has no sch"),
    'rule': (dict(sample__rule='apg'), "config.sample.rule is 'apg', of which"),
    'process': (dict(diffusion__schedule='cosine(steps=50)'), 'schedule is .cosine'),
    'target': (dict(diffusion__target='flow'), 'no scheduler of these pipelines'),
    'added': (dict(tokenizer__added=(('<a>', '', 1),)), 'config.tokenizer.added has'),
    'text': (dict(condition__name='text'), "config.condition.name 'text'"),
    'size': (dict(data__size=(16, 32)), r'config.data.size is \(16, 32\)'),
}


@pytest.mark.parametrize('case', BAD)
def test_what_no_pipeline_says_is_named(case, exported, tmp_path):
  fields, said = BAD[case]
  with pytest.raises(ValueError, match=said):
    pipeline_export.export(changed(exported('sd15')[0], **fields), str(tmp_path))


def test_a_field_that_no_file_says_is_found_by_reading_again(exported, tmp_path):
  """A U-Net that is told time otherwise: its files would be Stable Diffusion's."""
  model, _ = exported('sd15')
  module = model.module.clone(backbone=model.module.backbone.clone(time_unit='steps'))
  with pytest.raises(ValueError, match="config.model has time_unit 'steps', which in a "
                     "pipeline of diffusers is 'index'"):
    pipeline_export.export(model.replace(module=module), str(tmp_path))


def test_captions_own_tokenizer_is_none_of_theirs(exported, tokenizer, tmp_path):
  model = exported('sd15')[0].replace(tokenizer=tokenizer)
  with pytest.raises(ValueError, match='config.tokenizer.files is empty'):
    pipeline_export.export(model, str(tmp_path))


def test_the_page_says_what_it_is(exported, tmp_path):
  """Of a run with figures and a grid."""
  model, _ = exported('sd15')
  run = tmp_path / 'run'
  for folder in ('evaluations', 'samples'):
    (run / folder).mkdir(parents=True)
  (run / 'samples' / '7.png').write_bytes(b'a grid')
  (run / 'evaluations' / 'a.json').write_text(json.dumps({'scores': {
      'fid': {'value': 12.5, 'low': 12.0, 'high': 13.0, 'n': 5000}}}))
  out = tmp_path / 'mine'
  out.mkdir()
  model_card.write(model, str(out), str(out), str(run), 'StableDiffusionPipeline')
  text = (out / 'README.md').read_text()
  assert (out / 'samples.png').read_bytes() == b'a grid'
  assert '| fid | 12.5 | n 5000, low 12.0, high 13.0 |' in text
  assert '# mine' in text and 'from_pretrained("mine")' in text
  assert 'scaled_linear(steps=1000), eps' in text and 'backbone' in text
  assert json.loads((out / 'training.json').read_text())['data']['size'] == 16
