"""From a script or a notebook: what is loaded, asked for and drawn."""
import ast
import json
import shutil
import subprocess
import sys

from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from console.errors import UserNote
from helpers.commands import ROOT
from helpers.tiny import DIT, tiny
import inference
from inference import dry_run, edits, generation, loading, requests, sampler
import models
from models.text_to_image import TextToImage
from training import param_files, workdir as workdirs

PROMPTS = ['a red ring', 'a blue star']


@pytest.fixture(scope='module')
def folder(tmp_path_factory, tokenizer):
  """An exported workdir of a transformer with random parameters, of any size."""
  root = tmp_path_factory.mktemp('exported')
  c = tiny(str(root / 'data'))
  c.model = dict(DIT)
  c.model.dtype = 'float32'
  c.sample.update(dict(solver='ddim', guidance=2.0))
  module = models.build(c, tokenizer.get_vocab_size())
  shapes = models.param_shapes(module, (16, 16), c.tokenizer.length)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda p: np.float32(0.2 * rng.normal(size=p.shape)), shapes)
  workdirs.save_config(str(root), c)
  (root / 'tokenizer.json').write_text(tokenizer.to_str())
  param_files.save(str(root / param_files.FILE), params, 'float32', {})
  return root


@pytest.fixture(scope='module')
def model(folder):
  return inference.load(str(folder))


def test_a_script_in_another_folder_loads_and_generates(tmp_path, model, folder):
  """Five lines, as the README has them; nothing is printed, and no flag is read."""
  (tmp_path / 'a b').mkdir()
  script = tmp_path / 'a b' / 'draw.py'
  script.write_text(
      'from inference import load, generate\nimport numpy as np\n'
      f'model = load({str(folder)!r})\n'
      f'images = generate(model, {PROMPTS!r}, num=2, seed=1, steps=3)\n'
      'np.save("images.npy", images)\n')
  done = subprocess.run(
      [sys.executable, script], cwd=script.parent, capture_output=True, text=True,
      env={'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'PATH': ''})
  assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
  got = np.load(script.parent / 'images.npy')
  assert got.shape == (4, 16, 16, 3) and got.dtype == np.uint8
  here = inference.generate(model, PROMPTS, num=2, seed=1, steps=3)
  assert np.abs(got.astype(int) - here).max() <= 1


def test_pictures_depend_on_prompt_seed_and_index_alone(model):
  four = inference.generate(model, PROMPTS, num=2, seed=3)
  alone = inference.generate(model, PROMPTS[1:], num=2, seed=3, batch=1)
  assert np.abs(four[2:].astype(int) - alone).max() <= 1
  assert np.abs(four[0].astype(int) - four[1]).max() > 1
  other = inference.generate(model, PROMPTS[1:], num=2, seed=4)
  assert np.abs(alone.astype(int) - other).max() > 1


def test_given_noise_takes_the_place_of_the_seeds(model):
  noise = generation.noise_of(3, np.arange(2), model.module.latent_shape(model.size))
  want = inference.generate(model, PROMPTS[:1], num=2, seed=3)
  got = inference.generate(model, PROMPTS[:1], num=2, seed=9, noise=noise)
  np.testing.assert_array_equal(got, want)


def test_height_and_width_are_those_of_the_pictures(model):
  tall = inference.generate(model, PROMPTS[:1], height=24, width=8)
  assert tall.shape == (1, 24, 8, 3)
  with pytest.raises(ValueError, match='patch'):
    inference.generate(model, PROMPTS[:1], height=18)


def test_a_model_with_a_table_of_places_says_that_it_has_one_size(
    config, tokenizer, model):
  c = config.copy_and_resolve_references()  # a U-Net with positions
  module = models.build(c, tokenizer.get_vocab_size())
  other = model.replace(config=c, module=module, programs={})
  with pytest.raises(ValueError, match='learned a table of places for 16 pixels'):
    inference.generate(other, PROMPTS, height=32, width=16)


@pytest.mark.parametrize('wrong, message', [
    (dict(gidance=3), "'gidance' is no setting; settings are"),
    (dict(steps='many'), 'config.sample.steps'),
    (dict(solver='rk9'), "config.sample.solver is 'rk9', not one of"),
    (dict(guidance=float('nan')), 'config.sample.guidance'),
    (dict(clip='dynamic(percentile=7)'), 'percentile'),
    (dict(interval=(0.9, 0.1)), 'config.sample.interval'),
    (dict(solver="ddpm(variance='learned')"), 'predicts no variance')])
def test_settings_that_make_no_sense_are_value_errors(model, wrong, message):
  with pytest.raises(ValueError, match=message):
    inference.generate(model, PROMPTS, **wrong)
  with pytest.raises(ValueError, match='prompts is'):
    inference.generate(model, 'a red ring')


def test_text_is_encoded_once_and_both_halves_of_guidance_are_one_batch(model):
  """Counted as the program runs, of 2 steps and of 5."""
  ran = {}
  def count(call, args, kwargs, context):
    name = context.method_name
    if isinstance(context.module, TextToImage) and name in ('encode', 'predict'):
      jax.debug.callback(lambda: counts.append(name))
      shapes.append((name, args[0].shape[0]))
    return call(*args, **kwargs)
  for steps in (2, 5):
    counts, shapes = [], []
    with nn.intercept_methods(count):
      inference.generate(model.replace(programs={}), PROMPTS, batch=8, steps=steps)
    jax.effects_barrier()
    ran[steps] = counts
    assert [b for name, b in shapes if name == 'predict'] == [16]
  assert ran[2].count('encode') == ran[5].count('encode') > 0
  assert 2 * ran[5].count('predict') == 5 * ran[2].count('predict') > 0


def test_an_export_is_compared_with_its_modules_only_where_they_may_differ(
    folder, tmp_path, monkeypatch):
  """It says for which it was written; with others, or none said, all is compared."""
  root = shutil.copytree(folder, tmp_path / 'run')
  c, path = workdirs.load_config(str(root)), str(root / param_files.FILE)
  params = jax.tree.map(np.asarray, inference.load(str(root)).params)
  param_files.save(path, params, 'float32', {'modules': param_files.modules_of(c)})
  with monkeypatch.context() as patch:
    patch.setattr(models, 'param_shapes', lambda *args: 1 / 0)
    again = inference.load(str(root)).params
  jax.tree.map(np.testing.assert_array_equal, again, params)
  c.model.width = 32
  workdirs.save_config(str(root), c)
  with pytest.raises(ValueError, match='does not fit the config'):
    inference.load(str(root))


def test_other_prompts_seeds_and_scales_compile_nothing(model):
  inference.generate(model, PROMPTS, guidance=2.5)
  before = len(model.programs)
  compiled = []
  jax.monitoring.register_event_duration_secs_listener(
      lambda name, *_, **__: 'backend_compile' in name and compiled.append(name))
  inference.generate(model, ['a star', 'a ring'], seed=5, guidance=4.0)
  assert len(model.programs) == before and not compiled
  assert model.replace(params=model.params).programs is model.programs


@pytest.mark.parametrize('solver', ('ddpm', 'dpmpp_2m', 'heun', 'adaptive'))
def test_watched_pictures_are_the_same_bits(model, solver):
  """On eight devices, a batch at a time; those on the way are those of a film."""
  told = []
  def watch(step, steps, pictures):
    told.append((int(step), steps, np.asarray(pictures)))
  c = generation.with_settings(model.config, dict(solver=solver, steps=20, batch=8))
  own, index = model.replace(config=c), np.arange(12)
  request = requests.build_request(model.tokenizer, PROMPTS[:1],
                                   c.tokenizer.length, model.size, num=12)
  plain = generation.sample_request(own, request, index, seed=3)
  watched = generation.sample_request(own, request, index, seed=3, watch=watch)
  np.testing.assert_array_equal(watched, plain)
  if solver == 'adaptive':  # its steps are its own
    assert not told
    return
  way = generation.sample_request(own, request, index, seed=3, film=True)[1]
  steps = list(range(2, 21, 2))  # at most sampler.WATCHED of 20
  assert sorted(told[i][0] for i in range(10)) == steps and len(told) == 20
  for k, batch in enumerate((told[:10], told[10:])):
    for step, total, pictures in batch:
      assert total == 20 and step in steps
      there = way[step - 1, 8 * k:8 * k + 8]
      np.testing.assert_allclose(pictures[:len(there)].astype(int), there, atol=1)


def test_progress_is_told_and_a_cut_prompt_is_a_note(model):
  done = []
  inference.generate(model, PROMPTS, num=5, progress=done.append)
  assert done == [8, 10]  # config.sample.batch is 8
  with pytest.warns(UserNote, match='its last .* tokens are cut'):
    inference.generate(model, ['red ' * 50])
  with pytest.raises(ValueError, match='is not UTF-8'):
    inference.generate(model, ['a\udcff'])


def test_a_prompt_is_split_into_weighted_parts():
  assert requests.prompt_parts('a AND b') == [('a', 1.0), ('b', 1.0)]
  assert requests.prompt_parts('a:1.5 AND b c:-2') == [('a', 1.5), ('b c', -2.0)]
  assert requests.prompt_parts('a:1.5') == [('a:1.5', 1.0)]
  assert requests.prompt_parts('a: b AND c') == [('a: b', 1.0), ('c', 1.0)]
  for weight in ('nan', 'inf', '-1e999'):
    with pytest.raises(ValueError, match='weights are finite'):
      requests.prompt_parts(f'a:{weight} AND b')


def test_a_request_has_a_row_a_picture(tokenizer):
  request = requests.build_request(tokenizer, ['a ring', 'a star AND a ring:2'], 8,
                                   (16, 24), num=2, negative='red')
  assert request.tokens.shape == (4, 3, 8)
  np.testing.assert_array_equal(request.prompt_weights,
                                [[1, 0], [1, 0], [1, 2], [1, 2]])
  np.testing.assert_array_equal(request.sizes, [[16, 24, 0, 0, 16, 24]] * 4)
  (red,) = requests.encode_prompts(tokenizer, ['red'], 8)
  np.testing.assert_array_equal(request.tokens[:, 0], [red] * 4)


def test_a_latent_is_masked_where_any_of_its_pixels_is():
  """At random sizes and factors, against a loop."""
  seed = np.random.SeedSequence().entropy % 2**32
  rng = np.random.default_rng(seed)
  h, w, f = rng.integers(1, 5, 3)
  mask = (rng.random((2, h * f, w * f, 1)) < 0.1).astype(np.float32)
  got = sampler.latent_mask(jnp.asarray(mask), (h, w, 4))
  for b, i, j in np.ndindex(2, h, w):
    want = mask[b, i * f:(i + 1) * f, j * f:(j + 1) * f].any()
    assert got[b, i, j, 0] == want, f'seed {seed}'


def test_pictures_of_the_user_become_inputs_and_masks():
  levels = np.uint8([[0, 127, 128, 255]])[..., None].repeat(3, -1)
  np.testing.assert_array_equal(sampler.to_uint8(edits.to_input(levels)), levels)
  np.testing.assert_array_equal(edits.to_mask(edits.to_input(levels))[..., 0],
                                [[0, 0, 1, 1]])


def test_pixels_are_rounded_and_bounded():
  x = jnp.array([-3.0, -1.0, 0.0, 0.0039, 1.0, 2.0])
  np.testing.assert_array_equal(sampler.to_uint8(x), [0, 0, 128, 128, 255, 255])


def request_of(model, prompt, image):
  return requests.build_request(
      model.tokenizer, [prompt], model.config.tokenizer.length, model.size).replace(
          image=image)


def test_the_error_of_an_inversion_is_that_of_the_picture_drawn_from_it(model):
  """What invert says is measured again by hand, through generate."""
  c = model.config.copy_and_resolve_references()
  c.sample.update(dict(guidance=1.0, clip='none', solver='heun', steps=12))
  plain = model.replace(config=c)
  image = np.tanh(np.random.default_rng(1).normal(size=(1, 16, 16, 3)) / 2)
  noise, error = edits.invert(plain, request_of(plain, PROMPTS[0],
                                                image.astype(np.float32)))
  drawn = inference.generate(plain, PROMPTS[:1], noise=noise)
  by_hand = np.sqrt(np.mean((drawn / 127.5 - 1 - np.clip(image, -1, 1)) ** 2))
  assert abs(by_hand - error) < 0.01 and error < 0.5
  with pytest.raises(ValueError, match='draws no noise'):
    c.sample.solver = 'ddpm'
    edits.invert(plain, request_of(plain, PROMPTS[0], image.astype(np.float32)))


def test_the_ends_of_an_interpolation_are_the_requests(model):
  request = requests.build_request(model.tokenizer, PROMPTS, 16, (16, 16))
  shape = model.module.latent_shape((16, 16))
  way, index = edits.interpolate(request, shape, steps=3, num=2, seed=1, to_seed=2)
  assert way.tokens.shape == (6, 3, 16) and index.tolist() == [0, 0, 0, 1, 1, 1]
  np.testing.assert_array_equal(way.prompt_weights[:3], [[1, 0], [0.5, 0.5], [0, 1]])
  for row, seed, i in ((0, 1, 0), (2, 2, 0), (3, 1, 1), (5, 2, 1)):
    want = generation.noise_of(seed, np.array([i]), shape)[0]
    np.testing.assert_allclose(way.noise[row], want, atol=1e-4)


def test_a_weaker_model_is_to_be_of_the_same_process(model):
  tokens = edits.weak_tokens(model, model, PROMPTS, 2)
  assert tokens.shape == (4, 2, 16)
  c = model.config.copy_and_resolve_references()
  c.diffusion.schedule = 'cosine'
  with pytest.raises(ValueError, match="schedule 'cosine'"):
    edits.weak_tokens(model, model.replace(config=c), PROMPTS, 1)


def test_guided_away_from_itself_a_model_stays(model):
  request = requests.build_request(model.tokenizer, PROMPTS, 16, (16, 16))
  request = request.replace(weak_tokens=edits.weak_tokens(model, model, PROMPTS, 1))
  index = np.zeros(2, int)
  got = generation.sample_request(model, request, index, seed=0, weak=model)
  want = inference.generate(model, PROMPTS, guidance=1.0)
  assert np.abs(got.astype(int) - want).max() <= 1


def test_what_is_masked_is_painted_and_the_rest_stays(model):
  """By both fills; RePaint with a rule that remembers is drawn, too."""
  c = generation.with_settings(model.config, dict(
      solver='ddpm', rule='apg(momentum=-0.5)', clip='none', steps=3))
  image = np.zeros((2, 16, 16, 3), np.float32)
  mask = np.zeros((2, 16, 16, 1), np.float32)
  mask[:, :, 8:] = 1
  request = requests.build_request(model.tokenizer, PROMPTS, 16, (16, 16)).replace(
      image=image, mask=mask)
  for fill in ('blend', 'repaint(jump=2, repeats=2)'):
    got = generation.sample_request(model.replace(config=c), request, np.zeros(2, int),
                                    seed=0, fill=fill).astype(int)
    assert np.abs(got[:, :, :8] - 128).max() <= 1
    assert np.abs(got[:, :, 8:] - 128).max() > 8
  c.sample.solver = 'dpmpp_2m'
  with pytest.raises(ValueError, match='without memory'):
    generation.sample_request(model.replace(config=c), request, np.zeros(2, int),
                              seed=0, fill='repaint')


def test_a_stored_config_that_lacks_a_key_draws_the_same(model, folder, tmp_path):
  """A key that came later takes the value that keeps what the run did, bit for bit."""
  want = inference.generate(model, PROMPTS)
  stored = json.loads((folder / 'config.json').read_text())
  for section, key in (('sample', 'rescale'), ('train', 'objective'),
                       ('eval', 'metrics'), ('data', 'flip'), ('diffusion', 'vlb')):
    del stored[section][key]
  del stored['mesh']
  shutil.copytree(folder, tmp_path / 'old')
  (tmp_path / 'old' / 'config.json').write_text(json.dumps(stored))
  old = inference.load(str(tmp_path / 'old'))
  assert old.config.to_dict() == model.config.to_dict()
  np.testing.assert_array_equal(inference.generate(old, PROMPTS), want)
  stored['sample']['rescal'] = 0.1
  (tmp_path / 'old' / 'config.json').write_text(json.dumps(stored))
  with pytest.raises(ValueError, match="config.json is not a config: .*'rescal'"):
    inference.load(str(tmp_path / 'old'))


def test_a_key_of_tomorrow_breaks_no_workdir(model, folder, monkeypatch):
  """A key that is added to configs/base.py is no business of what is stored."""
  from configs import base
  today = base.get_config
  def tomorrow():
    c = today().unlock()
    c.sample.colour = 'blue'
    c.weather = c.sample.copy_and_resolve_references()
    return base.lock(c)
  monkeypatch.setattr(base, 'get_config', tomorrow)
  c = loading.config_of(str(folder))
  assert c.sample.colour == 'blue' and c.weather.steps == 30
  assert loading.config_of(str(ROOT / 'weights' / 'shapes')).sample.colour == 'blue'


def test_what_is_no_model_is_a_value_error(tmp_path):
  for place, message in ((tmp_path / 'none', 'no such folder'),
                         (tmp_path, 'holds no run')):
    with pytest.raises(ValueError, match=message):
      inference.load(str(place))
  shutil.copy(ROOT / 'weights/shapes/config.json', tmp_path)
  shutil.copy(ROOT / 'weights/shapes/tokenizer.json', tmp_path)
  with pytest.raises(ValueError, match='no checkpoint yet'):
    inference.load(str(tmp_path))
  (tmp_path / 'config.json').write_text('{"train": {"batch": "8"}}')
  with pytest.raises(ValueError, match='config.json is not a config'):
    inference.load(str(tmp_path))


def test_a_part_is_read_from_an_exported_workdir(model, folder):
  shapes = jax.eval_shape(lambda: model.params)
  got = loading.read_part('backbone', str(folder), shapes)
  jax.tree.map(np.testing.assert_array_equal, got, model.params['backbone'])
  teacher = {'teacher': shapes}
  got = loading.read_part('teacher', str(folder), teacher, {'teacher'})
  jax.tree.map(np.testing.assert_array_equal, got, model.params)
  got = loading.read_part('teacher/backbone/in', str(folder), teacher, {'teacher'})
  np.testing.assert_array_equal(got['kernel'], model.params['backbone']['in']['kernel'])


def test_a_dry_run_refuses_what_could_not_start(model, tmp_path):
  c = model.config.copy_and_resolve_references().unlock()
  assert dry_run.check(c).devices.size == 8
  for key, value, message in (
      ('init_from', (('backbone', 'nowhere'),), 'there is no such folder'),
      ('init_from', (('hat', str(tmp_path)),), "there is no 'hat'"),
      ('init_from', (('text_encoder', str(tmp_path)),), 'config.tokenizer.files')):
    wrong = c.copy_and_resolve_references().unlock()
    wrong[key] = value
    with pytest.raises(ValueError, match=message):
      dry_run.check(wrong)
    dry_run.check(wrong, new=False)  # a resumed run reads none
  c.train.objective = 'guidance_distillation'
  c.model.scalars = ('guidance',)
  with pytest.raises(ValueError, match=r"needs a teacher: a row \('teacher', folder\)"):
    dry_run.check(c)


def test_every_function_of_inference_is_reached_by_a_test():
  """Called in one by its name, or by a function of inference that is."""
  calls = {}  # function -> names that it uses
  for path in (ROOT / 'inference').glob('*.py'):
    for node in ast.parse(path.read_text()).body:
      if isinstance(node, ast.FunctionDef):
        calls.setdefault(node.name, set()).update(
            getattr(x, 'id', getattr(x, 'attr', None)) for x in ast.walk(node))
  tests = '\n'.join(p.read_text() for p in (ROOT / 'tests').rglob('test_*.py'))
  reached, new = set(), {name for name in calls if f'{name}(' in tests}
  while new - reached:
    reached |= new
    new = set.union(*(calls[name] for name in reached)) & set(calls)
  assert set(calls) <= reached


def test_a_model_is_replaced_field_by_field(model):
  other = model.replace(source='elsewhere')
  assert other.source == 'elsewhere' and other.params is model.params


def test_many_prompts_that_are_too_long_are_told_of_once(tokenizer):
  prompts = [f'a red ring {i} ' * 20 for i in range(9)]
  with pytest.warns(UserNote) as told:
    requests.build_request(tokenizer, [*prompts, 'a ring'], 8, (16, 16))
  lines = [str(w.message) for w in told]
  assert len(lines) == 6 and lines[-1] == '9 prompts in all are too long and are cut.'
