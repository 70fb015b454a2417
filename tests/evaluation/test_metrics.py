"""Metrics one by one: what is refused, and pictures and embeddings that are known."""
import re
import sys

import jax.numpy as jnp
from ml_collections import ConfigDict
import numpy as np
import pytest
from safetensors import numpy as storage

from configs import validation
from console import options
import evaluation
from evaluation import features, gathering, grid, nearest, prompts, scores
from evaluation.metrics import clip
from helpers import toy_features
from helpers.toy_features import model_of


@pytest.fixture(autouse=True)
def toys(monkeypatch):
  yield from toy_features.installed(monkeypatch)


@pytest.fixture(scope='module')
def c(config):
  return toy_features.scored_config(config.data.dir)


# What makes no sense.

@pytest.mark.parametrize('spec, message', [
    ('kid(size=51)', 'size is 51, more than config.eval.num, 50'),
    ('kid(size=1)', 'size is 1; it must be above 1'),
    ('kid(parts=3)', "no option 'parts'"), ('fid_infinity', 'smallest is 5000'),
    ('precision_recall(k=0)', 'k is 0'), ('precision_recall(k=50)', 'must be more'),
    ('inception_score(splits=1)', 'splits is 1'),
    ("fd(output='cls')", "no output 'cls'; it has"),
    ('fid9', "is 'fid9', not one of ['")])
def test_a_metric_that_makes_no_sense_is_refused(c, spec, message):
  c = c.copy_and_resolve_references()
  c.eval.metrics = (spec,)
  with pytest.raises(ValueError) as e:
    evaluation.build(c)
  assert message in str(e.value)


def test_the_same_score_twice_is_refused(c):
  c = c.copy_and_resolve_references()
  c.eval.metrics = ('fid', "fid(preprocessing='adm')")
  with pytest.raises(ValueError, match="'fid' twice"):
    evaluation.build(c)


# Nearest pictures, LPIPS, CLIP.

def test_a_model_that_remembers_draws_what_stands_beside_it(c, tokenizer, monkeypatch):
  """Of pictures that are true ones: each is its own nearest, at no distance."""
  there, drawn = prompts.true_pictures(c), []
  def remembered(model, request, index, *, seed):
    drawn.extend(index)
    return np.stack([there[int(i)]['image'] for i in index])
  monkeypatch.setattr(sys.modules['evaluation.build'], 'sample_request', remembered)
  c = c.copy_and_resolve_references()
  c.eval.update(dict(num=5, metrics=('fid',)))
  need = nearest.need_of(evaluation.needed(evaluation.build(c), 'true'))
  sheet, lines = nearest.sheet(model_of(c, tokenizer), need, 0)
  assert sheet.dtype == np.uint8 and len(lines) == 5
  captions = list(there.captions())
  for i, line in enumerate(lines):
    assert line.startswith(captions[i])
    assert float(line.removeprefix(f'{captions[i]}: ').partition(' ')[0]) < 1e-5


def test_lpips_is_the_mean_over_pairs_and_nothing_for_pictures_that_are_alike(
    c, tokenizer, monkeypatch):
  def load(name, path=None, preprocessing=None):
    return toy_features.load(name)._replace(
        apply=lambda params, x: {'features': x @ params['pool']})
  monkeypatch.setattr(features, 'load', load)
  gathering.network.cache_clear()
  c = c.copy_and_resolve_references()
  c.eval.update(dict(metrics=('lpips', "lpips(of='true')"), num=40))
  there = prompts.true_pictures(c)
  def generate(model, prompts, seed, progress=None):
    rng, alike = np.random.default_rng(seed), prompts[:20] == prompts[20:]
    return (rng.integers(0, 256, (40, 16, 16, 3), np.uint8) if alike else
            np.stack([there[i]['image'] for i in range(40)]))
  model = model_of(c, tokenizer)
  found = evaluation.measure(evaluation.build(c), model, 3, generate=generate)
  assert found['lpips_true'].value == 0 and found['lpips_true'].n == 40
  network = load('lpips')
  x = network.preprocess(generate(model, ['a'] * 40, 3)) @ network.params['pool']
  np.testing.assert_allclose(found['lpips_diversity'].value,
                             ((x[:20] - x[20:])**2).sum(1).mean(), rtol=1e-5)
  assert found['lpips_diversity'].n == 20


def test_clip_score_is_a_hundred_cosines(c, monkeypatch):
  """Of a text encoder and pictures whose embeddings are known."""
  rng = np.random.default_rng(0)
  rows = {text: rng.normal(size=4) for text in ('a', 'b', 'c')}
  def tokenize(texts):
    return np.array([[ord(text)] for text in texts]), np.array([0, 3, 0])[:len(texts)]
  def apply(params, tokens):
    table = np.stack([rows[text] / np.linalg.norm(rows[text]) for text in 'abc'])
    return jnp.asarray(table)[tokens[:, 0] - ord('a')]
  text = features.TextNetwork('clip_l14', 4, tokenize, apply, {}, '', 100.0)
  monkeypatch.setattr(clip, 'text_network', lambda name: text)
  toy = toy_features.load('x')._replace(outputs={'embedding': 4})
  monkeypatch.setattr(features, 'load', lambda *key, **options: toy)
  gathering.network.cache_clear()
  metric = clip.clip_score()
  texts, pictures = ('b', 'a', 'b', 'c', 'a'), rng.normal(size=(5, 4))
  run = scores.Run(None, 0, None, prompts=texts, about={metric.needs[0]: 'clip'},
                   generated={metric.needs[0]: pictures})
  cosines = [x @ rows[t] / np.linalg.norm(x) / np.linalg.norm(rows[t])
             for x, t in zip(pictures, texts)]
  found = metric.measure(run)['clip_score']
  np.testing.assert_allclose(found.value, 100 * np.mean(cosines), rtol=1e-5)
  assert found.source == 'clip, 2 prompts cut'


def test_the_aesthetic_head_is_its_layers_one_after_another(tmp_path):
  rng, widths = np.random.default_rng(0), (768, 1024, 128, 64, 16, 1)
  layers, x = {}, rng.normal(size=(3, 768))
  y = x
  for i, a, b in zip((0, 2, 4, 6, 7), widths, widths[1:]):
    layers[f'layers.{i}.weight'] = np.float32(rng.normal(size=(b, a)) / a**0.5)
    layers[f'layers.{i}.bias'] = np.float32(rng.normal(size=b))
    y = y @ layers[f'layers.{i}.weight'].T + layers[f'layers.{i}.bias']
  path = str(tmp_path / 'head.safetensors')
  storage.save_file(layers, path)
  weight, bias = clip.read_head(path)
  np.testing.assert_allclose(x @ weight + bias, y[:, 0], rtol=1e-9)
  del layers['layers.4.weight']
  storage.save_file(layers, path)
  with pytest.raises(ValueError, match='has no layers.4.weight'):
    clip.read_head(path)


def test_grey_pictures_are_compared_as_such_in_colour():
  grey = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), np.uint8)
  network = gathering.network('inception')
  np.testing.assert_array_equal(network.preprocess(grey),
                                network.preprocess(grey.repeat(3, -1)))


# A grid of settings.

def test_a_grid_is_every_combination():
  split = options.split_commas
  keys = ('guidance', 'steps', 'timesteps')
  found = grid.parse('guidance=1,1.5 x timesteps=linear,shifted(m=2,n=3) x ema=0.1',
                     keys, split)
  assert found == {'guidance': [1, 1.5], 'timesteps': ['linear', 'shifted(m=2,n=3)'],
                   'ema': [0.1]}
  assert len(grid.cells(found)) == 4 and grid.cells(found)[1] == {
      'guidance': 1, 'timesteps': 'shifted(m=2,n=3)', 'ema': 0.1}
  for text, message in (('guidance', 'is written'), ('hats=1', 'not one of'),
                        ('steps=1 x steps=2', 'twice'), ('steps=', 'is written')):
    with pytest.raises(ValueError, match=message):
      grid.parse(text, keys, split)


def test_the_front_is_what_no_other_beats_in_both():
  points = [(1, 5), (2, 7), (3, 6), (1, 4), (4, 7)]  # the first less, the second more
  assert grid.front(points, (False, True)) == [0, 1]
  assert grid.front(points, (True, True)) == [4]


# Several evaluations of a run.

def test_each_evaluation_has_its_own_settings(c, tokenizer):
  c = c.copy_and_resolve_references()
  c.train.eval_every = 4
  c.eval.update(dict(metrics=('fid',), num=10))
  with c.unlocked():
    c.eval.more.quick = ConfigDict(dict(
        every=2, metrics=('fid', 'sfid2'), num=6, sample=dict(steps=1)))
  with pytest.raises(ValueError, match="config.eval.more.quick: .*'sfid2', not one"):
    evaluation.planned(c)
  c.eval.more.quick.metrics = ('fid', "kid(size=4,subsets=3)")
  c.eval.best = 'quick/kid'
  validation.check(c)
  plan = evaluation.planned(c)
  assert [(one.name, one.every) for one in plan] == [('', 4), ('quick', 2)]
  assert plan[1].config.sample.steps == 1 and plan[0].config.sample.steps == 2
  assert not evaluation.higher_is_better(plan, 'quick/kid')
  found = evaluation.measure_all(plan, model_of(c, tokenizer), 0)
  assert {name: score.n for name, score in found.items()} == {
      'fid': 10, 'quick/fid': 6, 'quick/kid': 6}
  c.eval.best = 'kid'
  with pytest.raises(ValueError, match="best is 'kid'; the scores along the way are"):
    evaluation.planned(c)


@pytest.mark.parametrize('entry, message', [
    (dict(num=3), 'it must have `every`'), (dict(every=0), 'every is 0'),
    (dict(every=2, hats=1), "more.a has a key 'hats'; it takes every, sample and"),
    (dict(every=2, more={}), "has a key 'more'"),
    (dict(every=2, num='x'), "eval.num is 'x'; it must be like"),
    (dict(every=2, num=0), 'config.eval.num is 0'),
    (dict(every=2, sample=dict(hats=1)), "has a key 'hats'"),
    (dict(every=2, sample=dict(steps=-1)), 'config.sample.steps is -1')])
def test_an_evaluation_that_makes_no_sense_is_refused(c, entry, message):
  c = c.copy_and_resolve_references()
  with c.unlocked():
    c.eval.more.a = ConfigDict(entry)
  with pytest.raises(ValueError, match=re.escape(message)):
    validation.check(c)
