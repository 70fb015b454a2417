"""Averages of a real run: kept apart, read back, and made into others."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.tiny import DIT, tiny
from inference import averages, loading
import models
import training
from training import checkpoint, ema, sharding, train_state
from training import workdir as workdirs

WIDTHS, STEPS = (0.05, 0.1), (4, 8, 12)


@pytest.fixture(scope='module')
def run(tmp_path_factory, tokenizer):
  """(workdir, {(step, width): parameters}) of a run that has stored known averages.

  The values of each are random, so that only the right sum of them gives another.
  """
  root = tmp_path_factory.mktemp('averages')
  c = tiny(str(root / 'data'))
  c.model = dict(DIT)
  c.model.dtype = 'float32'
  c.optim.ema = tuple(f'power(std={width})' for width in WIDTHS)
  c.optim.lr_scale = (('text_encoder/.*', 0.0), ('.*', 1.0))
  workdirs.save_config(str(root), c)
  (root / 'tokenizer.json').write_text(tokenizer.to_str())
  mesh = sharding.make_mesh(1)
  state = training.build(c, mesh, vocab=tokenizer.get_vocab_size()).create()
  held = checkpoint.Checkpoints(str(root), 'averages')
  rng, stored = np.random.default_rng(0), {}
  for step in STEPS:
    ema_trees = tuple(jax.tree.map(
        lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), tree)
        for tree in state.ema)
    state = state.replace(ema=ema_trees)
    held.save_ema(step, state)
    for width, tree in zip(WIDTHS, ema_trees):
      stored[step, width] = jax.device_get(train_state.combine(tree, state.frozen))
  held.close()
  whole = checkpoint.Checkpoints(str(root))
  class Place:
    def get_state(self):
      return {'batches': 0}
  whole.save(12, state, Place())
  whole.close()
  return root, stored


def test_stored_averages_come_back_by_step(run):
  root, stored = run
  model = loading.load(str(root))
  assert averages.stored_steps(str(root)) == list(STEPS)
  for step in STEPS:
    for width, got in zip(WIDTHS, averages.load_averages(model, str(root), step)):
      jax.tree.map(np.testing.assert_array_equal, got, stored[step, width])
  with pytest.raises(ValueError, match='the averages of step 5 cannot be read'):
    averages.load_averages(model, str(root), 5)


@pytest.mark.parametrize('std', [0.07, 0.15])
def test_an_average_of_another_width_is_their_sum_by_the_coefficients(run, std):
  """Against the coefficients applied by hand, one by one, in another order."""
  root, stored = run
  model = loading.load(str(root))
  got = averages.posthoc_ema(model, str(root), std)
  order = [(step, width) for width in WIDTHS for step in STEPS[::-1]]
  share = ema.solve_posthoc(order, 12, std)
  want = jax.tree.map(lambda *leaves: sum(
      s * np.float64(leaf) for s, leaf in zip(share, leaves)),
      *(stored[key] for key in order))
  assert got.source == f'step 12, power(std={std})'
  trained = jax.tree.leaves(want['backbone'])
  for a, b in zip(jax.tree.leaves(got.params['backbone']), trained, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-4)
  for a, b in zip(jax.tree.leaves(got.params['text_encoder']),
                  jax.tree.leaves(stored[12, 0.05]['text_encoder']), strict=True):
    np.testing.assert_array_equal(a, b)  # frozen: not scaled by the sum of shares


def test_a_run_without_stored_averages_has_none(run, tmp_path):
  model = loading.load(str(run[0]))
  assert averages.stored_steps(str(tmp_path)) == []
  with pytest.raises(ValueError, match='has 0 stored averages'):
    averages.posthoc_ema(model, str(tmp_path), 0.1)


def test_shapes_to_restore_are_those_of_the_run(run):
  """Trained parts in each average, frozen ones once."""
  model = loading.load(str(run[0]))
  shapes = training.build(model.config, sharding.make_mesh(1),
                          vocab=model.tokenizer.get_vocab_size()).shapes
  assert jax.tree.leaves(shapes.frozen['text_encoder'])
  assert not jax.tree.leaves(shapes.ema[0]['text_encoder'])
  assert train_state.count(model.params) == train_state.count(
      models.param_shapes(model.module, (16, 16), model.config.tokenizer.length))


def test_the_best_step_of_a_run_that_kept_none_is_refused(run):
  workdir, _ = run
  with pytest.raises(ValueError, match='--best needs a run with config.eval.best'):
    averages.best_ema(None, workdir)
