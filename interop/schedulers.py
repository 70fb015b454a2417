"""A public pipeline's scheduler as `diffusion` and `sample` of a config.

A row of SCHEDULERS reads the fields that diffusers' class of that name reads, and says
how they are written here. What a class reads and we have no equal of is refused by
name; fields that only other classes read have no effect, in diffusers neither.
"""
from interop import flows, spacing
from interop.betas import NOISE_OR_V, PLAIN, STABLE, STEEP, TARGETS, TINY
from interop.betas import alpha_bars, process, result
from interop.flows import FEW, TYPES, multistep_options, order_of
from interop.part import Part
from interop.spacing import written

ALWAYS = 1001  # more steps than any

FIELDS = '''
    algorithm_type base_image_seq_len base_shift beta_end beta_schedule
    beta_start clip_sample clip_sample_range disable_corrector
    dynamic_thresholding_ratio euler_at_final final_sigmas_type flow_shift
    interpolation_type invert_sigmas lambda_min_clipped lower_order_final
    max_image_seq_len max_shift num_train_timesteps original_inference_steps
    predict_x0 prediction_type rescale_betas_zero_snr rho sample_max_value
    scale_factors set_alpha_to_one shift shift_terminal sigma_data sigma_max
    sigma_min sigma_schedule skip_prk_steps solver_order solver_p solver_type
    steps_offset stochastic_sampling thresholding time_shift_type
    timestep_scaling timestep_spacing timestep_type trained_betas upscale_mode
    use_beta_sigmas use_dynamic_shifting use_exponential_sigmas use_flow_sigmas
    use_karras_sigmas use_lu_lambdas variance_type'''.split()  # of any class


def noising(folder: str, corrected=(), **sample) -> dict:
  """{'diffusion': ..., 'sample': ..., 'notes': ...}, and what a backbone is told.

  corrected: fields that the pipeline corrects in old files. sample: what the scheduler
  does not say.
  """
  part = Part(folder, 'scheduler', 'scheduler_config.json')
  row = part.one_of('_class_name', SCHEDULERS)
  table = {'steps_offset': (1, 0), 'clip_sample': (False, row in (ddim, ddpm)),
           'skip_prk_steps': (True, False)}  # field -> (value, where it is missing)
  for key in corrected:
    part.correct(key, *table[key])
  read = row(part)
  part.done(*FIELDS)
  return read | dict(sample=sample | read['sample'], notes=part.notes)


def never_clipped(part, usual: bool = False):
  """Refuses bounds of x0: latents have none."""
  part.must('clip_sample', False, usual)
  part.only(thresholding=False)


def ddim(part):
  never_clipped(part, True)
  until = None if part.get('set_alpha_to_one', True) else 'first'
  timesteps = spacing.whole(part, 'leading', until=until)
  stride = None if timesteps.startswith('leading') else 1000
  return result(process(part, PLAIN, 0.0), written('ddim', stride=stride), timesteps)


def ddpm(part):
  never_clipped(part, True)
  timesteps = spacing.whole(part, 'leading')
  variance = part.one_of('variance_type', {
      'fixed_small': None, 'fixed_small_log': None, 'fixed_large': 'large'},
                         'fixed_small')
  if variance and timesteps not in ('leading', 'linspace'):
    part.refuse('variance_type', 'fixed_large', 'its last step draws no noise, which '
                'there it does but from the first of the trained steps')
  return result(process(part, PLAIN, 0.0), written('ddpm', variance=variance),
                timesteps)


def pndm(part):
  part.must('skip_prk_steps', True, False)
  part.must('timestep_spacing', 'leading', 'leading')
  until = None if part.get('set_alpha_to_one', False) else 'first'
  diffusion = process(part, PLAIN, targets=NOISE_OR_V)
  of = 'v' if diffusion['target'] == 'v' else None
  return result(diffusion, written('plms', of=of),
                spacing.whole(part, 'leading', until=until))


def k_diffusion(solver: str, usual=PLAIN, least=None, targets=TARGETS,
                whole: bool = False, ends: bool = False, clips: bool = False):
  """A class whose steps are k-diffusion's, between which sigma / alpha is linear.

  whole: the network is told whole steps of Karras' levels. ends: the class reads
  final_sigmas_type, sigma_min, sigma_max and EulerDiscrete's other types. clips: it
  reads clip_sample.
  """
  def row(part):
    if ends:
      part.only(timestep_type='discrete', interpolation_type='linear',
                final_sigmas_type='zero')
    if clips:
      never_clipped(part)
    timesteps, prior = spacing.fractional(part, whole, ends)
    return result(process(part, usual, least, targets), solver, timesteps, prior=prior)
  return row


def euler_ancestral(part):
  timesteps, prior = spacing.fractional(part, levels=False)
  return result(process(part, PLAIN, TINY), 'euler_ancestral', timesteps, prior=prior)


def kdpm2_ancestral(part):
  if part.get('use_karras_sigmas', False):
    part.refuse('use_karras_sigmas', True, 'the network would be told the same time '
                'once as a whole step and once between two')
  return k_diffusion('dpm2(eta=1.0)', STEEP, targets=NOISE_OR_V)(part)


KINDS = {'dpmsolver': 'dpm', 'dpmsolver++': 'dpmpp', 'deis': 'dpmpp',
         'sde-dpmsolver++': 'dpmpp'}


def dpm_multistep(part):
  """DPMSolverMultistep: its kinds, orders and types."""
  part.only(thresholding=False, variance_type=None, use_dynamic_shifting=False)
  name = part.one_of('algorithm_type', KINDS, 'dpmsolver++')
  stochastic = part.get('algorithm_type', '') == 'sde-dpmsolver++'
  until = spacing.until_of(part)
  if name == 'dpm':
    part.must('final_sigmas_type', 'sigma_min', 'zero')
  if stochastic and order_of(part) == 3:
    part.refuse('solver_order', 3, "it is 1 or 2: diffusers' sde-dpmsolver++ of three "
                'values is not of higher order')
  solver = written(name, eta=1.0 if stochastic else None, **multistep_options(part))
  if part.get('use_flow_sigmas', False):
    return flows.flow_solver(part, solver, until)
  last = spacing.counted(part, alpha_bars(part, PLAIN))
  return result(process(part, PLAIN, TINY), solver,
                spacing.solvers(part, until, lu=True, last=last))


def dpm_singlestep(part):
  part.only(thresholding=False, variance_type=None, use_dynamic_shifting=False,
            use_flow_sigmas=False)
  order = order_of(part)
  kind = part.one_of('algorithm_type', {'dpmsolver++': None, 'deis': None,
                                        'sde-dpmsolver++': 1.0}, 'dpmsolver++')
  middle = part.one_of('solver_type', TYPES, 'midpoint')
  if kind and order == 3 and middle is False:
    part.refuse('solver_type', 'heun', "it is 'midpoint': diffusers' sde-dpmsolver++ "
                'of three values is not of higher order')
  until = spacing.until_of(part)
  if until and not part.get('lower_order_final', False):
    part.refuse('lower_order_final', False, 'it is True with final_sigmas_type = '
                "'sigma_min': diffusers changes it by the number of steps")
  last = spacing.counted(part, alpha_bars(part, PLAIN))
  return result(process(part, PLAIN), written(
      'dpmpp_singlestep', order=order, eta=kind, middle=middle),
                spacing.solvers(part, until, spaced=False, last=last))


def deis(part):
  part.only(thresholding=False, use_dynamic_shifting=False, use_flow_sigmas=False)
  part.one_of('algorithm_type', {'deis': 1, 'dpmsolver': 1, 'dpmsolver++': 1}, 'deis')
  part.one_of('solver_type', {**TYPES, 'logrho': None}, 'logrho')
  lower = FEW if part.get('lower_order_final', True) else None
  return result(process(part, PLAIN), written(
      'deis', order=order_of(part), lower=lower),
                spacing.solvers(part, 'first', on_levels='last'))


def unipc(part):
  part.only(thresholding=False, use_dynamic_shifting=False, use_flow_sigmas=False,
            predict_x0=True, disable_corrector=[], solver_p=None, sigma_min=None,
            sigma_max=None, shift_terminal=None)
  b1 = part.one_of('solver_type', {'bh1': True, 'bh2': None, 'midpoint': None,
                                   'heun': None, 'logrho': None}, 'bh2')
  until = spacing.until_of(part)
  if b1 and not until:
    part.refuse('solver_type', 'bh1', "it takes final_sigmas_type = 'sigma_min'; with "
                "'zero' diffusers' last step is not finite")
  lower = ALWAYS if part.get('lower_order_final', True) else None
  if not (lower or until):
    part.refuse('lower_order_final', False,
                "it is True with final_sigmas_type = 'zero'")
  return result(process(part, PLAIN, TINY), written(
      'unipc', order=order_of(part), lower=lower, b1=b1),
                spacing.solvers(part, until, on_levels=until and 'last'))


def lcm(part):
  never_clipped(part)
  return result(process(part, STABLE, 0.0), written(
      'lcm', scaling=float(part.get('timestep_scaling', 10.0))), distilled(part))


def distilled(part, **more) -> str:
  return written('distilled', original=part.number('original_inference_steps', 50),
                 **more)


def tcd(part):
  """With the gamma of diffusers' pipelines, which call it eta."""
  never_clipped(part)
  return result(process(part, STABLE, 0.0), 'tcd(gamma=0.0)',
                distilled(part, until='first'))


SCHEDULERS = {f'{name}Scheduler': row for name, row in {
    'DDIM': ddim, 'DDPM': ddpm, 'PNDM': pndm, 'LCM': lcm, 'TCD': tcd,
    'EulerDiscrete': k_diffusion('ddim', least=TINY, ends=True),
    'EulerAncestralDiscrete': euler_ancestral,
    'HeunDiscrete': k_diffusion('heun(of_ratio=True)', STEEP, clips=True),
    'KDPM2Discrete': k_diffusion('dpm2', STEEP, targets=NOISE_OR_V, whole=True),
    'KDPM2AncestralDiscrete': kdpm2_ancestral,
    'LMSDiscrete': k_diffusion('lms'), 'DPMSolverMultistep': dpm_multistep,
    'DPMSolverSinglestep': dpm_singlestep, 'DEISMultistep': deis,
    'UniPCMultistep': unipc, 'EDMEuler': flows.edm('ddim'),
    'EDMDPMSolverMultistep': flows.edm('dpmpp'),
    'FlowMatchEulerDiscrete': flows.flow_match('euler'),
    'FlowMatchHeunDiscrete': flows.flow_match('heun'),
    'FlowMatchLCM': flows.flow_match('lcm')}.items()}
