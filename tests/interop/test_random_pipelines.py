"""Small pipelines that nobody chose, beside diffusers: the same pictures, or refused.

The same is within one level of 255, or within what rounding makes of it in diffusers.
Needs torch, diffusers and transformers beside our requirements; `make long` skips it
where they are missing. A seed is printed with each draw: RANDOM_PIPELINES=SEED,COUNT
draws others.
"""
import importlib.util
import os
import random
import sys
from unittest import mock

import numpy as np
import pytest

from helpers import odd_prompts

MISSING = [name for name in ('torch', 'diffusers', 'transformers')
           if importlib.util.find_spec(name) is None]
pytestmark = [pytest.mark.long, pytest.mark.skipif(
    bool(MISSING), reason=f'needs {", ".join(MISSING)}')]
SEED, COUNT = map(int, os.environ.get('RANDOM_PIPELINES', '1,100').split(','))
SIDE = 8

NOISE = dict(
    beta_schedule=('scaled_linear', 'linear', 'squaredcos_cap_v2'),
    beta_start=(0.00085, 0.0001, 0.002), beta_end=(0.012, 0.02, 0.03),
    prediction_type=('epsilon', 'epsilon', 'v_prediction', 'sample'))
STEPS = dict(timestep_spacing=('leading', 'trailing', 'linspace'), steps_offset=(0, 1))
ZERO = dict(rescale_betas_zero_snr=(False, False, True))
CLIP = dict(clip_sample=(False, False, False, True))
LEVELS = dict(use_karras_sigmas=(False, False, True),
              use_exponential_sigmas=(False, False, False, True),
              use_beta_sigmas=(False, False, False, True))
ORDER = dict(solver_order=(1, 2, 3), lower_order_final=(True, True, False))
FINAL = dict(final_sigmas_type=('zero', 'zero', 'sigma_min'))
DPM = NOISE | LEVELS | ORDER | FINAL | dict(
    algorithm_type=('dpmsolver++', 'sde-dpmsolver++', 'dpmsolver'),
    solver_type=('midpoint', 'heun'),
    lambda_min_clipped=(-float('inf'), -float('inf'), -5.1))
K = NOISE | STEPS | LEVELS
VALUES = {  # scheduler -> {field: values to draw from}
    'DDIM': NOISE | STEPS | ZERO | CLIP | dict(set_alpha_to_one=(True, False)),
    'DDPM': NOISE | STEPS | ZERO | CLIP | dict(
        variance_type=('fixed_small', 'fixed_large', 'fixed_small_log')),
    'PNDM': NOISE | STEPS | dict(skip_prk_steps=(True, True, False),
                                 set_alpha_to_one=(True, False)),
    'EulerDiscrete': K | ZERO | FINAL | dict(
        timestep_type=('discrete', 'discrete', 'continuous'),
        interpolation_type=('linear', 'linear', 'log_linear'),
        sigma_min=(None, 0.1), sigma_max=(None, 9.0)),
    'EulerAncestralDiscrete': NOISE | STEPS | ZERO, 'HeunDiscrete': K | CLIP,
    'KDPM2Discrete': K, 'KDPM2AncestralDiscrete': K, 'LMSDiscrete': K,
    'DPMSolverMultistep': DPM | STEPS | ZERO | dict(
        euler_at_final=(False, True), use_lu_lambdas=(False, False, True)),
    'DPMSolverSinglestep': DPM, 'DEISMultistep': NOISE | STEPS | LEVELS | ORDER,
    'UniPCMultistep': NOISE | STEPS | LEVELS | ORDER | ZERO | FINAL | dict(
        solver_type=('bh2', 'bh1')),
    'LCM': NOISE | CLIP | dict(original_inference_steps=(50, 20),
                               timestep_scaling=(10.0, 3.0)),
    'TCD': NOISE | CLIP}
FLOWS = {
    'FlowMatchEulerDiscrete': LEVELS | dict(
        shift=(1.0, 3.0), shift_terminal=(None, None, 0.05),
        use_dynamic_shifting=(False, False, True), stochastic_sampling=(False, True),
        time_shift_type=('exponential', 'linear')),
    'FlowMatchHeunDiscrete': dict(shift=(1.0, 3.0))}


def scheduler(draw, flow: bool):
  """(name, fields) of a scheduler that diffusers accepts, of a draw's choice."""
  import diffusers
  table = FLOWS if flow else VALUES
  while True:
    name = draw.choice(sorted(table))
    fields = {key: draw.choice(values) for key, values in table[name].items()
              if draw.random() < 0.6}
    try:
      getattr(diffusers, f'{name}Scheduler').from_config(fields)
      return name, fields
    except (ValueError, NotImplementedError, ImportError):
      pass


def pipeline(draw, kind: str, made):
  """A small pipeline with weights. made: the module fixtures/make_pipelines.py."""
  import diffusers
  name, fields = scheduler(draw, kind.startswith('sd3'))
  made_scheduler = getattr(diffusers, f'{name}Scheduler').from_config(fields)
  pad = draw.choice(('!', '<|endoftext|>'))
  if kind == 'sd':
    pipe = made.stable_diffusion(draw.choice(('gelu', 'quick_gelu')), pad,
                                 draw.choice((2, (2, 4))), made_scheduler)
    pipe.text_encoder = made.clip(16, pipe.text_encoder.config.hidden_act,
                                  depth=draw.choice((1, 3)))
  else:
    pipe = getattr(made, kind)()
    pipe.scheduler = made_scheduler
    pipe.register_modules(scheduler=made_scheduler)
  if kind == 'sdxl':
    pipe.register_to_config(force_zeros_for_empty_prompt=draw.choice((True, False)))
    if draw.random() < 0.3:
      pipe.vae.register_to_config(latents_mean=[0.1, -0.2, 0.3, 0.0],
                                  latents_std=[0.9, 1.1, 1.0, 1.3])
  return pipe, (name, fields)


def theirs(pipe, prompts, noise, drawn, steps, guidance, **more):
  """Pictures of diffusers, uint8 as floats; `drawn`: noise of each step."""
  import torch
  rows = iter(drawn)
  pipe.set_progress_bar_config(disable=True)
  module = sys.modules[pipe.scheduler.__class__.__module__]
  nchw = lambda x: torch.tensor(np.array(x)).permute(0, 3, 1, 2)
  with torch.no_grad(), mock.patch.object(
      module, 'randn_tensor', lambda *args, **kwargs: nchw(next(rows)), create=True):
    return 255 * pipe(prompts, num_inference_steps=steps, guidance_scale=guidance,
                      output_type='np', latents=nchw(noise), **more).images


@pytest.fixture(scope='module')
def made():
  """tests/fixtures/make_pipelines.py as a module."""
  folder = os.path.join(os.path.dirname(__file__), '..', 'fixtures')
  sys.path.insert(0, folder)
  import make_pipelines
  yield make_pipelines
  sys.path.remove(folder)


@pytest.mark.parametrize('i', range(COUNT))
def test_it_is_drawn_as_diffusers_does_or_refused_by_name(i, made, tmp_path):
  import jax
  import inference
  from inference import generation
  draw = random.Random(f'{SEED}/{i}')
  kind = draw.choice(('sd', 'sd', 'sdxl', 'sdxl', 'sd3', 'sd3_without_t5', 'pixart'))
  pipe, said = pipeline(draw, kind, made)
  prompts = [draw.choice(odd_prompts.prompts()) for _ in range(2)]
  negative = draw.choice((None, '', 'blue'))
  steps, guidance = draw.randint(2, 9), draw.choice((1.5, 3.0))
  print(f'RANDOM_PIPELINES={SEED} draw {i}:', kind, said, prompts, negative, steps)
  folder = tmp_path / 'pipe'
  pipe.save_pretrained(folder)
  shape = (2, SIDE, SIDE, 4)
  noise = np.random.default_rng(i).standard_normal(shape).astype(np.float32)
  keys = generation.keys_of(0, np.arange(2) % 1)
  drawn = [jax.vmap(lambda key: jax.random.normal(key, shape[1:]))(
      jax.vmap(lambda key: jax.random.fold_in(key, step))(keys))
           for step in range(1, 2 * steps + 3)]
  try:
    model = inference.load(str(folder))
    got = inference.generate(model, prompts, noise=noise, steps=steps,
                             guidance=guidance, negative=negative).astype(float)
  except ValueError as e:
    assert str(folder) in str(e) or 'config.' in str(e)
    return
  more = made.MORE.get(kind, {}) | (
      {} if negative is None else {'negative_prompt': [negative] * 2})
  try:
    wanted = theirs(pipe, prompts, noise, drawn, steps, guidance, **more)
  except (ValueError, IndexError, AssertionError, ZeroDivisionError, TypeError) as e:
    pytest.skip(f'diffusers itself fails: {e}')
  if not np.isfinite(wanted).all():
    pytest.skip('diffusers itself draws what is not finite')
  error = abs(got - np.round(wanted)).max()
  if error > 1:  # some of these networks make much of rounding; how much, is measured
    again = theirs(pipe, prompts, noise * np.float32(1 + 1e-6), drawn, steps, guidance,
                   **more)
    rounding = abs(again - wanted).max()
    print('error', error, 'after a change of 1e-6 of the noise', rounding)
    assert error <= 1 + 2 * rounding
