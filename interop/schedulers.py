"""A public pipeline's scheduler as `diffusion` and `sample` of a config."""
from interop.part import Part

SPACING = {'leading': 'leading(offset={offset}, more={more})', 'trailing': 'trailing',
           'linspace': 'linspace(more={more})'}
SOLVERS = {  # scheduler -> our solver; Euler's steps in sigma / alpha are DDIM's
    'DDIM': 'ddim', 'DDPM': 'ddpm', 'PNDM': 'ddim', 'EulerDiscrete': 'ddim',
    'EulerAncestralDiscrete': 'euler_ancestral', 'DPMSolverMultistep': 'dpmpp_2m',
    'UniPCMultistep': 'unipc', 'DEISMultistep': 'deis'}
BETAS = {'linear': ('linear', 1e-4, 0.02), 'scaled_linear': (
    'scaled_linear', 0.00085, 0.012), 'squaredcos_cap_v2': ('cosine', None, None)}
TARGETS = {'epsilon': 'eps', 'v_prediction': 'v', 'sample': 'x0'}


def noising(folder: str, **sample) -> dict:
  """Schedule, target, solver and timesteps; `sample` is what the scheduler lacks."""
  part = Part(folder, 'scheduler', 'scheduler_config.json')
  kind = part.get('_class_name').removesuffix('Scheduler')
  if kind == 'FlowMatchEulerDiscrete':
    part.only(num_train_timesteps=1000, use_dynamic_shifting=False,
              invert_sigmas=False, stochastic_sampling=False)
    diffusion = dict(schedule='flow', target='flow', loss_weight='flow')
    shift = float(part.get('shift', 1.0))
    end = shift * 0.001 / (1 + (shift - 1) * 0.001)
    return dict(diffusion=diffusion, sample=sample | dict(
        solver='euler', timesteps=f'shifted(shift={shift}, end={end:.6f})'))
  part.only(num_train_timesteps=1000, clip_sample=False, thresholding=False,
            use_beta_sigmas=False, use_exponential_sigmas=False)
  schedule, start, end = part.one_of('beta_schedule', BETAS)
  part.only(**({'beta_start': start, 'beta_end': end} if start else {}))
  zero = ', zero_snr=True' if part.get('rescale_betas_zero_snr', False) else ''
  target = part.one_of('prediction_type', TARGETS, 'epsilon')
  timesteps = part.one_of('timestep_spacing', SPACING, 'leading').format(
      offset=part.get('steps_offset', 0), more=int('Multistep' in kind))
  if part.get('use_karras_sigmas', False):  # from the first of its 1000 steps
    part.only(beta_schedule='scaled_linear')
    timesteps = 'karras(sigma_min=0.0292)'
  return dict(
      diffusion=dict(schedule=f'{schedule}(steps=1000{zero})', target=target,
                     loss_weight=target),
      sample=sample | dict(solver=part.one_of('_class_name', {
          f'{name}Scheduler': solver for name, solver in SOLVERS.items()}),
          timesteps=timesteps))
