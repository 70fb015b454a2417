"""Scheduler files of diffusers, drawn with as diffusers does (make_schedulers.py)."""
import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
import diffusion
from diffusion import guidance, posterior, sampling
from interop import schedulers
from models.layers import TIMES

FIXTURES = pathlib.Path(__file__).parent.parent / 'fixtures'
MADE = json.loads((FIXTURES / 'schedulers.json').read_text())
FOUND = np.load(FIXTURES / 'schedulers.npz')


def read(tmp_path, name, fields, **options):
  """What a file of that class with those fields becomes."""
  (tmp_path / 'scheduler').mkdir(exist_ok=True)
  (tmp_path / 'scheduler' / 'scheduler_config.json').write_text(json.dumps(
      {'_class_name': f'{name}Scheduler', '_diffusers_version': '0.42.1'} | fields))
  return schedulers.noising(str(tmp_path), **options)


def network(x, told):
  """That of the fixture."""
  told = told.reshape(-1, 1, 1, 1)
  waves = jnp.sin(1.5 * x @ FOUND['mix'] + 2 * jnp.sin(0.7 * told) + 0.002 * told)
  return 0.7 * waves + 0.3 * x


def drawn(parts, steps, tokens=None):
  """Where it ends, from the fixture's start with its noise."""
  c = base.get_config()
  c.diffusion.update(parts['diffusion'])
  c.sample.update(parts['sample'] | dict(steps=steps, clip='none'))
  process = diffusion.build(c.diffusion)
  how = diffusion.build_sampling(c.sample, process, tokens)
  unit = parts.get('model', {}).get(
      'time_unit', 'steps' if c.diffusion.schedule == 'flow' else 'index')
  def predict(x, t):
    return network(x, TIMES[unit](how.network_time(t) if how.network_time else t))
  guided = guidance.unguided(sampling.denoiser(process.precondition(predict), process))
  times = how.timesteps
  x = how.prior(process.schedule, times[0], jnp.asarray(FOUND['start']))
  carry = x, how.solver.init(x), ()
  for t, s, noise in zip(times[:-1], times[1:], FOUND['noise']):
    carry = sampling.advance(guided, how.solver, carry, t, s, noise)
  return carry[0]


@pytest.mark.parametrize('i', [  # a class takes a second or two
    pytest.param(i, marks=[pytest.mark.long] * (i % 3 > 0))
    for i in range(len(MADE['cases']))])
def test_ends_where_diffusers_does(i, monkeypatch, tmp_path):
  """Within a quarter of one level of 255, if the pictures span them all."""
  name, fields, *how = MADE['cases'][i]
  monkeypatch.setattr(posterior, 'noise_like', lambda keys, x: jnp.asarray(keys))
  got = drawn(read(tmp_path, name, fields), *how)
  expected = FOUND[str(i)]
  assert abs(got - expected).max() < np.ptp(expected) / (4 * 255), (name, fields)


@pytest.mark.parametrize('name', MADE['fields'])
def test_every_field_that_a_class_reads_is_asked_for(name, tmp_path, monkeypatch):
  """With all fields as they are by default, or as they must be here."""
  asked, done = [], schedulers.Part.done
  monkeypatch.setattr(schedulers.Part, 'done', lambda self, *names: (
      asked.extend(self.asked), done(self, *names)))
  fields = dict(clip_sample=False, skip_prk_steps=True, lower_order_final=True)
  if 'FlowMatch' in name:
    read(tmp_path, name, fields | dict(use_dynamic_shifting=True))
  if name == 'DPMSolverMultistep':
    read(tmp_path, name, fields | dict(
        use_flow_sigmas=True, prediction_type='flow_prediction'))
  if name == 'EulerDiscrete':
    read(tmp_path, name, fields | dict(use_karras_sigmas=True))
  if name == 'DPMSolverSinglestep':
    read(tmp_path, name, fields | dict(final_sigmas_type='sigma_min'))
  read(tmp_path, name, fields)
  without_effect = {  # where nothing is clipped; where there is no shift by size, flow
      'dynamic_thresholding_ratio', 'sample_max_value', 'clip_sample_range',
      'upscale_mode'}
  if 'FlowMatch' not in name:
    without_effect |= {'flow_shift', 'time_shift_type'}
  if name.startswith('EDM'):
    without_effect.add('num_train_timesteps')
  if name in ('LCM', 'TCD'):  # whose steps are those of distillation
    without_effect |= {'steps_offset', 'timestep_spacing', 'set_alpha_to_one'}
  if name == 'TCD':
    without_effect |= {'timestep_scaling', 'thresholding'}
  assert set(MADE['fields'][name]) - set(asked) - without_effect == set()
