"""One set of pictures for all metrics: on any mesh, killed or not, the same scores."""
import json
import os

import numpy as np
from PIL import Image
import pytest

from data import tokenizers
import evaluation
from evaluation import distances, features, gathering, kept, moments, prompts
from evaluation import resuming, statistics
from helpers import toy_features
from helpers.toy_features import model_of
from training import sharding


@pytest.fixture(autouse=True)
def toys(monkeypatch):
  yield from toy_features.installed(monkeypatch)


@pytest.fixture(scope='module')
def c(config):
  return toy_features.scored_config(config.data.dir)


@pytest.fixture(scope='module')
def scored(c, tokenizer):
  """Scores on one device, and the pictures of them."""
  pictures = {}
  with pytest.MonkeyPatch.context() as patch:
    installed = toy_features.installed(patch)
    next(installed)
    found = evaluation.measure(
        evaluation.build(c), model_of(c, tokenizer), 0,
        keep=lambda first, some: pictures.update(enumerate(some, first)))
  return found, np.stack([pictures[i] for i in range(50)])


def alike(a: dict, b: dict):
  assert a.keys() == b.keys()
  for name, score in a.items():
    for x, y in zip(score, b[name]):
      assert x == y or abs(x - y) <= 1e-6 * abs(y), (name, x, y)


@pytest.mark.parametrize('devices', [2, 8])
def test_any_number_of_devices_gives_the_same_scores(c, tokenizer, scored, devices):
  found = evaluation.measure(evaluation.build(c), model_of(c, tokenizer, devices), 0)
  alike(found, scored[0])


class Killed(Exception):
  pass


def test_a_killed_evaluation_goes_on_and_ends_with_the_same_scores(
    c, tokenizer, scored, tmp_path):
  """Killed after any number of pictures, twice, also while it saves."""
  model, metrics = model_of(c, tokenizer), evaluation.build(c)
  store = resuming.Store(str(tmp_path / 'x.progress'), {'seed': 0}, every=7)
  seen = []
  def report(most):
    def progress(total, unit):
      def count(done):
        seen.append(done)
        if done >= most:
          raise Killed
      return count if unit == 'pictures' else lambda done: None
    return progress
  for most in (14, 33):
    with pytest.raises(Killed):
      evaluation.measure(metrics, model, 0, report(most), store=store)
  torn = tmp_path / 'x.progress' / 'rows-36.npz'  # of a save that was not finished
  torn.write_bytes(b'torn')
  found = evaluation.measure(metrics, model, 0, report(1000), store=store)
  assert found == scored[0]
  assert seen.count(3) == 1 and seen[-1] == 50 and sorted(set(seen)) == [*range(
      3, 50, 3), 50]
  other = store._replace(identity={'seed': 1})
  assert resuming.load(other, evaluation.needed(metrics, 'needs')) == ({}, [])
  resuming.remove(store)
  assert not os.path.exists(store.folder)


def test_scores_are_those_of_the_features_of_all_pictures(c, scored):
  """FID and the rest, from the kept pictures, without meshes, batches and files."""
  found, pictures = scored
  network = toy_features.load('inception')
  of = lambda some: network.apply(network.params, network.preprocess(some))
  there = prompts.true_pictures(c)
  true = np.stack([there[i]['image'] for i in range(len(there))])
  a, b = (np.float64(of(some)['pool']) for some in (pictures, true))
  np.testing.assert_allclose(
      found['fid'].value, distances.frechet(moments.of_rows(a), moments.of_rows(b)),
      rtol=1e-6)
  assert found['fid'].n == 50 and '256 pictures of' in found['fid'].source
  assert 'mean' in found['fid'].source  # the preprocessing
  np.testing.assert_allclose(
      found['inception_score'].value, distances.inception_scores(
          of(pictures)['logits'], 3).mean(), rtol=1e-6)


# Statistics.

def test_statistics_are_kept_and_read(c, tmp_path):
  needs = evaluation.needed(evaluation.build(c), 'true')
  mesh = sharding.make_mesh()
  found, about = statistics.make(c, needs, mesh)
  path = str(tmp_path / 'true.npz')
  statistics.write(path, found, about)
  read, said = statistics.read(path, needs)
  assert '256 pictures' in said and 'true.npz' in said
  for need in needs:
    a, b = found[need], read[need]
    if need.kind == 'rows':
      np.testing.assert_array_equal(a, b)
    else:
      np.testing.assert_allclose(a.covariance, b.covariance, rtol=1e-12)
  with np.load(path) as stored:  # as pytorch-fid and clean-fid read them
    assert stored['mu'].shape == (6,) and stored['sigma'].shape == (6, 6)
    assert json.loads(str(stored['manifest']))['pictures'] == 256


def test_statistics_of_another_network_are_refused_by_name(tmp_path, monkeypatch):
  needs = [gathering.need_of('moments', 'inception', 'pool')]
  path, pool = str(tmp_path / 'true.npz'), moments.of_rows(np.eye(6))
  statistics.write(path, dict.fromkeys(needs, pool),
                   statistics.manifest('toys', 6, needs))
  statistics.read(path, needs)
  with pytest.raises(ValueError, match="preprocessing mean; .* preprocessing adm"):
    statistics.read(path, [needs[0]._replace(preprocessing='adm')])
  with pytest.raises(ValueError, match="no statistics of 'vgg'; it has .*inception"):
    statistics.read(path, [needs[0]._replace(network='vgg')])
  with pytest.raises(ValueError, match="has no 'feats', rows of inception's 'pool'"):
    statistics.read(path, [needs[0]._replace(kind='rows')])
  again = toy_features.load('inception')._replace(weights_hash='ffff')
  monkeypatch.setattr(features, 'load', lambda *key, **options: again)
  gathering.network.cache_clear()
  with pytest.raises(ValueError, match='with weights .*; .* weights ffff'):
    statistics.read(path, needs)
  (tmp_path / 'torn.npz').write_bytes((tmp_path / 'true.npz').read_bytes()[:300])
  with pytest.raises(ValueError, match='torn.npz is not a whole npz'):
    statistics.read(str(tmp_path / 'torn.npz'), needs)


@pytest.mark.parametrize('names', [('mu', 'sigma'), ('mu_s', 'sigma_s')])
def test_statistics_of_others_are_taken_for_inceptions(tmp_path, names):
  """pytorch-fid's, clean-fid's and EDM2's have the first names, ADM's both."""
  rows = np.random.default_rng(0).normal(size=(30, 6))
  path = str(tmp_path / 'adm.npz')
  np.savez(path, **dict(zip(names, (rows.mean(0), np.cov(rows, rowvar=False)))))
  need = gathering.Need('moments', 'inception', 'spatial' if '_s' in names[0] else
                        'pool')
  found, said = statistics.read(path, [need])
  assert abs(distances.frechet(found[need], moments.of_rows(rows))) < 1e-12
  assert 'unstated' in said
  with pytest.raises(ValueError, match='has no'):
    statistics.read(path, [need._replace(output='logits')])
  with pytest.raises(ValueError, match='has no'):
    statistics.read(path, [need._replace(network='dinov2_l')])


# Prompts.

def test_each_picture_has_its_prompt_by_the_rule(c, tokenizer, tmp_path):
  c = c.copy_and_resolve_references()
  c.eval.update(dict(num=7, prompts=str(tmp_path / 'p.txt')))
  (tmp_path / 'p.txt').write_text('a red ring\n\na blue star\na ring\n')
  found = prompts.of_pictures(c, tokenizer, 0)
  assert found == ['a red ring', 'a blue star', 'a ring'] * 2 + ['a red ring']
  c.eval.update(dict(order='random', num=3000))
  found = prompts.of_pictures(c, tokenizer, 0)
  assert all(abs(found.count(x) - 1000) < 150 for x in set(found))
  c.eval.num = 100
  assert prompts.of_pictures(c, tokenizer, 0) == found[:100]
  assert prompts.of_pictures(c, tokenizer, 1) != found[:100]
  c.eval.prompts = 'captions'
  captions = list(prompts.true_pictures(c).captions())
  assert set(prompts.of_pictures(c, tokenizer, 0)) <= set(captions)
  c.eval.prompts = 'classes'
  with pytest.raises(ValueError, match="'classes', but config.condition.name 'text'"):
    prompts.check(c)


def test_classes_are_given_in_turn(c):
  c = c.copy_and_resolve_references()
  c.condition = dict(name='class', classes=3, width=8)
  c.eval.update(dict(prompts='classes', num=7))
  prompts.check(c)
  tokenizer = tokenizers.classes(['dog', 'cat', 'owl'], 3)
  assert prompts.of_pictures(c, tokenizer, 0) == ['cat', 'dog', 'owl'] * 2 + ['cat']


# Pictures that are kept.

def test_pictures_are_kept_as_a_folder_and_as_adms_npz(scored, tmp_path):
  _, pictures = scored
  texts = [f'{i}' for i in range(50)]
  for keeper in (kept.folder(str(tmp_path / 'a'), texts),
                 kept.archive(str(tmp_path / 'a.npz'), texts, np.arange(50))):
    for first in (0, 20, 10, 30, 40):  # one of them again, after a kill
      keeper.keep(first, pictures[first:first + 20])
    keeper.done()
  names = sorted(os.listdir(tmp_path / 'a'))
  assert names[0] == '000000.png' and len(names) == 50
  opened = Image.open(tmp_path / 'a' / '000007.png')
  assert opened.text['prompt'] == '7'
  np.testing.assert_array_equal(np.asarray(opened), pictures[7])
  with np.load(tmp_path / 'a.npz') as stored:
    np.testing.assert_array_equal(stored['arr_0'], pictures)
    np.testing.assert_array_equal(stored['arr_1'], np.arange(50))
  assert sorted(os.listdir(tmp_path)) == ['a', 'a.npz']


def test_grey_is_seen_as_three_channels_alike(c, tokenizer):
  need = gathering.need_of('rows', 'toy')
  pictures = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 1), np.uint8)
  mesh = model_of(c, tokenizer).mesh
  grey, colours = (gathering.gather([need], lambda at, x=x: x[at], 16, mesh, 8)[need]
                   for x in (pictures, pictures.repeat(3, -1)))
  np.testing.assert_array_equal(grey, colours)
