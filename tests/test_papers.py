"""Configs of papers: each builds, trains a step and draws at a reduced size."""
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
import drawing
import models
from papers import FOLDER, PAPERS, config, module
from training import ema, loss as losses, mesh as meshes, optim, specs
from training import state as states, step as steps

# Run in every test run: a transformer of latents compiles fast. `make long` has others.
ALWAYS = {('dit', 'xl')}


@pytest.mark.parametrize('paper, name', PAPERS)
def test_a_paper_is_described_and_makes_sense(paper, name):
  """All that dry_run checks without tracing the network, as test_published does."""
  c, told = config(paper, name), ' '.join(module(paper).__doc__.split())
  assert re.search(r'arXiv:\d{4}\.\d{5}', told) and 'Not as published: ' in told
  assert f'--config=configs/papers/{paper}.py' in told and 'Published' in told
  base.check(c)
  meshes.check_batch(meshes.make(**c.mesh), c.train.batch, c.train.accumulate)
  _, rate = optim.make(c.optim, c.train.steps)
  assert float(rate(max(1, c.optim.warmup))) == pytest.approx(c.optim.lr)
  for spec in c.optim.ema:
    specs.make(ema.PROFILES, spec, 'optim.ema')
  model = models.build(  # made of modules: nothing is traced
      c.model, c.condition, c.autoencoder, vocab=c.tokenizer.vocab, size=c.data.size,
      length=c.tokenizer.length)
  losses.make(model, c.diffusion, np.zeros(c.tokenizer.length, np.int32))
  times = drawing.time_grid(c)
  assert len(times) == c.sample.steps + 1 and times[0] > 0.98
  drawing.solver_of(c, losses.process_of(c.diffusion)[0])


def test_every_paper_has_a_line_in_the_docs():
  text = (FOLDER.parent.parent / 'docs' / 'papers.md').read_text()
  for paper, name in PAPERS:
    assert f'`{paper}{":" * bool(name)}{name}`' in text


def test_a_name_that_a_paper_has_not_is_refused():
  for words in ('xxl', 'xl,b', 'xl,small'):
    with pytest.raises(ValueError, match="'reduced'.*'xl'"):
      config('dit', words)


@functools.cache
def marked():
  """A parameter for each reduced config that differs in more than rates and steps."""
  seen, rows = set(), []
  for paper, name in PAPERS:
    c = config(paper, name, 'reduced')
    parts = c.autoencoder, c.model, c.condition, c.diffusion, c.sample.solver
    text = repr((c.optim.name, c.tokenizer.length, *parts))
    if text not in seen:
      marks = () if (paper, name) in ALWAYS else pytest.mark.long
      rows.append(pytest.param(paper, name, marks=marks))
      seen.add(text)
  return rows


@pytest.mark.parametrize('paper, name', marked())
def test_a_reduced_paper_trains_a_step_and_draws(paper, name):
  c = config(paper, name, 'reduced')
  base.check(c)
  model, rng = drawing.build_model(c, c.tokenizer.vocab), np.random.default_rng(0)
  shapes = drawing.shapes_of(model, c)
  optim.check(c.optim, shapes)
  params = jax.tree.map(lambda p: np.float32(0.1 * rng.normal(size=p.shape)), shapes)
  size, length = c.data.size, c.tokenizer.length
  batch = {'image': rng.integers(0, 256, (4, size, size, 3), np.uint8),
           'tokens': np.tile(np.arange(1, length + 1, dtype=np.int32), (4, 1))}
  draw, loss = losses.make(model, c.diffusion, np.eye(1, length, dtype=np.int32)[0])
  optimizer, rate = optim.make(c.optim, c.train.steps)
  profiles = [specs.make(ema.PROFILES, spec, 'optim.ema') for spec in c.optim.ema]
  step = steps.make(draw, loss, optimizer, rate, profiles)
  sampler = drawing.make_sampler(model, c)

  @jax.jit
  def both(params, batch, key):
    state, metrics = step(states.fresh(
        lambda key: params, optimizer, key, len(profiles),
        lambda params: optim.frozen(c.optim, params)), batch, key)
    new = states.whole(state.params, state.frozen)
    request = {'tokens': jnp.stack([batch['tokens']] * 2, 1)[:2], 'keys': jax.random.
               split(key, 2), 'weights': jnp.ones((2, 1)),
               'scale': jnp.float32(c.sample.guidance)}
    return new, metrics, sampler({'strong': new}, request)

  new, metrics, pictures = both(params, batch, jax.random.key(0))
  assert np.isfinite(metrics['loss']) and not metrics['skipped'].any()
  assert metrics['grad_norm'] > 0
  frozen = optim.frozen(c.optim, params)
  for name in new:
    same = jax.tree.map(np.array_equal, new[name], params[name])
    for still, keep in zip(*map(jax.tree.leaves, (same, frozen[name]))):
      assert still or not keep  # what is frozen stays
    assert not all(jax.tree.leaves(same)) or all(jax.tree.leaves(frozen[name]))
  assert pictures.shape == (2, size, size, 3) and pictures.dtype == jnp.uint8
