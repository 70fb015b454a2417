"""Objectives: each is zero where what it asks for holds, else a closed form."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion import process
from helpers.objectives import (
    B, EVEN, KEY, Fake, batch_of, objective_of, terms_of, x0_of)
from helpers.tiny import DIT, tiny
import training
from training import sharding

def test_denoising_is_zero_where_the_network_knows_the_picture():
  batch = batch_of(same=True)
  def known(params, x, scalars, context):
    return x0_of(batch) + params['off'], None
  objective = objective_of(known, 'denoising')
  terms, grads, _ = terms_of(objective, {'off': jnp.zeros(3)}, batch)
  assert terms['mse'] < 1e-12 and jnp.abs(grads['off']).max() < 1e-6
  terms, *_ = terms_of(objective, {'off': jnp.full(3, 0.5)}, batch)
  np.testing.assert_allclose(terms['mse'], 0.25, rtol=1e-5)


@pytest.mark.parametrize('schedule', ['flow', 'cosine', 'edm'])
def test_consistency_is_zero_where_all_points_lead_to_the_same_picture(schedule):
  batch = batch_of(same=True)
  def known(params, x, scalars, context):
    return x0_of(batch) + params['off'], None
  objective = objective_of(known, 'consistency(steps=4)', schedule)
  terms, grads, _ = terms_of(objective, {'off': jnp.zeros(3)}, batch)
  assert terms['consistency'] < 1e-10 and jnp.abs(grads['off']).max() < 1e-5


def test_consistency_follows_the_average_and_at_the_first_time_the_picture():
  """A constant network: its error is against its average's constant, or the picture."""
  batch, off, ema = batch_of(), jnp.full(3, 0.25), jnp.full(3, -0.5)
  objective = objective_of(lambda params, x, *_: (x * 0 + params['off'], None),
                           'consistency(steps=4)')
  terms, grads, drawn = terms_of(objective, {'off': off}, batch, {'off': ema})
  first = np.ceil(np.asarray(drawn['t']) * 4) <= 1
  assert first.any() and not first.all()
  error = np.where(first[:, None, None, None], off - x0_of(batch), off - ema)
  np.testing.assert_allclose(terms['consistency'], (error ** 2).mean(), rtol=1e-5)
  np.testing.assert_allclose(grads['off'], 2 * error.mean((0, 1, 2)) / 3, rtol=1e-4)


def affine(params, x, scalars, context):
  """x0 of a network that is told how far to go beyond what no caption would give."""
  change = process.append_dims(scalars.guidance, x) * process.append_dims(
      context.pooled - 3, x)  # token 3 is the empty caption
  return 0.5 * x + 3 + params['gain'] * change, None


def test_guidance_distillation_is_zero_where_the_student_is_the_guided_teacher():
  objective = objective_of(affine, 'guidance_distillation(low=1.0, high=5.0)')
  params = {'gain': jnp.ones(()), 'teacher': {'gain': jnp.ones(())}}
  assert not objective.parts['teacher'].trained
  terms, grads, drawn = terms_of(objective, params, batch_of())
  assert terms['guidance_distillation'] < 1e-10
  assert jnp.abs(grads['gain']) < 1e-4
  scale, said = drawn['guidance'], batch_of()['tokens'][:, 1] - 3
  assert 1 <= scale.min() < scale.max() <= 5
  params['gain'] = jnp.float32(0.8)  # too little guidance, by a fifth of each change
  terms, *_ = terms_of(objective, params, batch_of())
  np.testing.assert_allclose(terms['guidance_distillation'],
                             np.mean((0.2 * scale * said) ** 2), rtol=1e-4)


def test_the_dispersive_term_is_its_closed_form():
  """Two groups of pictures d apart: log of the share alike + share apart e^(-d / t)."""
  z = jnp.where(jnp.arange(B) < 2, 0.0, 3.0)
  def network(params, x, scalars, context):
    return x, jnp.broadcast_to(params['size'] * z[:, None, None], (B, 5, 7))
  spec = 'dispersive(weight=0.25, block=2, temperature=4.0)'
  terms, grads, _ = terms_of(objective_of(network, spec), {'size': jnp.ones(())},
                             batch_of())
  alike = (2**2 + 4**2) / B**2
  want = 0.25 * np.log(alike + (1 - alike) * np.exp(-9 / 4))
  np.testing.assert_allclose(terms['dispersive'], want, rtol=1e-5)
  assert grads['size'] < 0 and set(terms) == {'mse', 'dispersive'}


@pytest.mark.parametrize('spec, message', [
    ('hope', 'not one of'), ('consistency(steps=1)', 'steps is 1'),
    ('dispersive(block=3)', 'block is 3; .* outputs of 3 blocks'),
    ('dispersive(temperature=0.0)', 'temperature 0.0'),
    ('guidance_distillation(low=3.0, high=2.0)', 'must be in order')])
def test_options_that_make_no_sense_are_refused(spec, message):
  with pytest.raises(ValueError, match=f'config.train.objective is .*{message}'):
    objective_of(affine, spec)


def test_a_network_that_is_not_told_of_guidance_is_refused(monkeypatch):
  monkeypatch.setattr(Fake, 'scalars', ())
  with pytest.raises(ValueError, match=r"config.model.scalars=\('guidance',\)"):
    objective_of(affine, 'guidance_distillation')


@functools.cache
def trained(objective, *scalars):
  """Metrics of three real steps of a small transformer, and its last state."""
  c = tiny('unused')
  c.model = dict(DIT)
  c.model.update(dict(scalars=scalars, dtype='float32'))
  c.train.objective = objective
  made = training.build(c, sharding.make_mesh(1))
  state, out, rng = made.create(), [], np.random.default_rng(0)
  if state.frozen:  # a teacher that says something
    state = state.replace(frozen=jax.tree.map(lambda p: p + 0.1, state.frozen))
  batch = {'image': rng.integers(0, 256, (8, 16, 16, 3), np.uint8),
           'tokens': rng.integers(2, 290, (8, 16)).astype(np.int32),
           'sizes': np.zeros((8, 6), np.float32)}
  for _ in range(3):
    state, metrics = made.step(state, sharding.shard_local(batch, made.mesh), KEY)
    out.append(jax.device_get(metrics))
  return out, state


@pytest.mark.parametrize('spec, scalars, names', [
    ('consistency(steps=8)', (), {'consistency'}),
    ('meanflow(share=0.5)', ('s',), {'meanflow'}),
    ('dispersive(block=0)', (), {'mse', 'dispersive'}),
    ('guidance_distillation', ('guidance',), {'guidance_distillation'})])
def test_a_real_network_is_trained_by_it_and_its_terms_add_up(spec, scalars, names):
  metrics, state = trained(spec, *scalars)
  for step in metrics:
    assert set(step['terms']) == names and not step['skipped'].any()
    np.testing.assert_allclose(sum(step['terms'].values()), step['loss'], rtol=1e-5)
  assert metrics[-1]['grad_norm'] > 0
  if state.frozen:  # the teacher stays, without moments or average
    assert jax.tree.leaves(state.frozen['teacher'])
    assert not jax.tree.leaves(state.params['teacher'])


@pytest.mark.parametrize('spec', ['consistency(steps=2)', 'denoising'])
def test_nothing_is_infinite_where_the_picture_is_all_but_gone(spec):
  objective = objective_of(affine, spec)
  drawn = objective.draw(KEY, (B, 4, 4, 3), EVEN, 1.0) | {'t': jnp.full(B, 1 - 1e-5)}
  params = {'gain': jnp.zeros(())}
  network = objective_of(lambda params, x, *_: (0.5 * x + params['gain'], None), spec)
  def loss(params):
    return sum(t.mean() for t in network.loss(params, params, batch_of(), drawn)[0]
               .values())
  value, grads = jax.value_and_grad(loss)(params)
  assert np.isfinite(value) and np.isfinite(grads['gain'])
