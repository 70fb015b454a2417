"""Configs of papers: each builds, trains a step and draws at a reduced size."""
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base, validation
import diffusion
from diffusion import specs
from helpers.papers import FOLDER, PAPERS, config, module
from inference import sampler
from inference.requests import Request
import models
import training
from training import ema, optim, sharding, train_state, train_step
from training.build import build_objective

# Run in every test run: a transformer of latents compiles fast. `make long` has others.
ALWAYS = {('dit', 'xl')}


@pytest.mark.parametrize('paper, name', PAPERS)
def test_a_paper_is_described_and_makes_sense(paper, name):
  """All that dry_run checks without tracing the network, as test_published does."""
  c, told = config(paper, name), ' '.join(module(paper).__doc__.split())
  assert re.search(r'arXiv:\d{4}\.\d{5}', told) and 'Not as published: ' in told
  assert f'--config=configs/papers/{paper}.py' in told and 'Published' in told
  validation.check(c)
  sharding.check_batch(sharding.make_mesh(**c.mesh), c.train.batch, c.train.accumulate)
  _, rate = optim.build(c.optim, c.train.steps)
  assert float(rate(max(1, c.optim.warmup))) == pytest.approx(c.optim.lr)
  for spec in c.optim.ema:
    specs.build(ema.PROFILES, spec, 'optim.ema')
  model = models.build(c)  # made of modules: nothing is traced
  build_objective(c, model)
  process = diffusion.build(c.diffusion)
  how = sampler.build_plan(model, c, process)
  sampler.check_sampler(model, c, how, base.height_width(c.data.size))
  assert len(how.timesteps) == c.sample.steps + 1 and how.timesteps[0] > 0.98


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
  validation.check(c)
  size, length = base.height_width(c.data.size), c.tokenizer.length
  null = np.eye(1, length, dtype=np.int32)[0]
  made = training.build(c, sharding.make_mesh(1), null_tokens=null)
  rng = np.random.default_rng(0)
  params = jax.tree.map(
      lambda p: np.float32(0.1 * rng.normal(size=p.shape)),
      models.param_shapes(made.module, size, length))
  batch = {'image': rng.integers(0, 256, (4, *size, 3), np.uint8),
           'tokens': np.tile(np.arange(1, length + 1, dtype=np.int32), (4, 1)),
           'sizes': np.tile(np.float32([*size, 0, 0, *size]), (4, 1))}
  optimizer, rate = optim.build(c.optim, c.train.steps)
  profiles = [specs.build(ema.PROFILES, spec, 'optim.ema') for spec in c.optim.ema]
  step = train_step.build_step(made.objective, optimizer, rate, profiles, steps=100)
  sample = sampler.build_sampler(made.module, c, size)

  @jax.jit
  def both(params, batch, key):
    state, metrics = step(train_state.init_state(
        lambda key: params, optimizer, key, len(profiles),
        lambda params: optim.frozen(c.optim, params)), batch, key)
    new = train_state.combine(state.params, state.frozen)
    request = Request(jnp.stack([batch['tokens']] * 2, 1)[:2], jnp.ones((2, 1)),
                      batch['sizes'][:2])
    return new, metrics, sample({'main': new}, request, jax.random.split(key, 2),
                                jnp.float32(c.sample.guidance))

  new, metrics, pictures = both(params, batch, jax.random.key(0))
  assert np.isfinite(metrics['loss']) and not metrics['skipped'].any()
  assert metrics['grad_norm'] > 0
  frozen = optim.frozen(c.optim, params)
  for name in new:
    same = jax.tree.map(np.array_equal, new[name], params[name])
    for still, keep in zip(*map(jax.tree.leaves, (same, frozen[name]))):
      assert still or not keep  # what is frozen stays
    assert not all(jax.tree.leaves(same)) or all(jax.tree.leaves(frozen[name]))
  assert pictures.shape == (2, *size, 3) and pictures.dtype == jnp.uint8
