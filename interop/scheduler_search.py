"""The scheduler of diffusers that is a process, a solver and timesteps of ours.

schedulers.py says what each file of theirs means here. This is its inverse by search:
the fields that a class asks for are tried, and the file is the first that means it.
"""
import itertools

from interop import schedulers
from interop.described import VERSION
from interop.part import Part

TARGETS = {'eps': 'epsilon', 'v': 'v_prediction', 'x0': 'sample'}
BETAS = {  # our schedule -> beta_schedule, and the usual ends in thousandths
    'linear': ('linear', 0.1, 20.0), 'scaled_linear': ('scaled_linear', 0.85, 12.0),
    'cosine': ('squaredcos_cap_v2', None, None)}
FIXED = dict(num_train_timesteps=1000, clip_sample=False, thresholding=False,
             trained_betas=None, skip_prk_steps=True)
LEVELS = ('use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas',
          'use_lu_lambdas', 'use_dynamic_shifting')  # of which one may be True
TRIED = {  # field -> values; a class tries those that it asks for
    'timestep_spacing': ('leading', 'trailing', 'linspace'), 'steps_offset': (0, 1),
    'set_alpha_to_one': (True, False), 'final_sigmas_type': ('zero', 'sigma_min'),
    'solver_order': (2, 1, 3), 'solver_type': ('midpoint', 'heun', 'bh1', 'bh2'),
    'lower_order_final': (True, False), 'euler_at_final': (False, True),
    'algorithm_type': ('dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'deis'),
    'variance_type': (None, 'fixed_large'), 'use_flow_sigmas': (False, True),
    'time_shift_type': ('exponential', 'linear')}
TAKEN = {  # field -> the option of our solver or timesteps whose value it has
    'shift': 'shift', 'flow_shift': 'shift', 'shift_terminal': 'terminal',
    'original_inference_steps': 'original', 'timestep_scaling': 'scaling',
    'base_shift': 'base_shift', 'max_shift': 'max_shift',
    'base_image_seq_len': 'base_tokens', 'max_image_seq_len': 'max_tokens'}


def find(process: dict, means, options: dict, corrected=()):
  """The fields of a scheduler_config.json, or None where there is no such scheduler.

  Args:
    process: 'target' and the name and options of 'schedule': (name, {option: value}).
    means: called with what schedulers.py reads of a file, {'diffusion': ..., 'sample':
      ...}; whether that is it.
    options: of our solver and timesteps.
    corrected: of schedulers.noising, fields that the pipeline corrects in old files;
      the file is one that needs none.
  """
  known = fields_of(process)
  known |= {key: options[option] for key, option in TAKEN.items()
            if known and options.get(option)}
  for name, row in schedulers.SCHEDULERS.items() if known else ():
    fixed = dict(_class_name=name, _diffusers_version=VERSION) | FIXED | known
    looked = asked_by(row, fixed)
    asked = [key for key in TRIED if key in looked]
    levels = [{key: True} for key in LEVELS if key in looked]
    for level, *values in itertools.product([{}, *levels], *map(TRIED.get, asked)):
      part = part_of(fixed | dict(zip(asked, values)) | level)
      if 'steps_offset' in corrected:
        part.correct('steps_offset', 1, 0)
      try:
        read = row(part)
      except ValueError:  # a class that has no such thing
        continue
      same = read['diffusion']['target'] == process['target']  # before what is slower
      if same and not part.notes and means(read):
        return {key: value for key, value in part.fields.items()
                if key in part.asked or key[0] == '_'}
  return None


def fields_of(process: dict) -> dict:
  """What a file says of a process; {} for one that no file here can say."""
  name, options = process['schedule']
  if (name, process['target']) == ('flow', 'flow'):
    return {'prediction_type': 'flow_prediction'}
  if (name not in BETAS or process['target'] not in TARGETS
      or options.get('steps') != FIXED['num_train_timesteps']):
    return {}
  betas, low, high = BETAS[name]
  ends = {} if low is None else dict(beta_start=options.get('low', low) / 1000,
                                     beta_end=options.get('high', high) / 1000)
  return dict(beta_schedule=betas, prediction_type=TARGETS[process['target']],
              rescale_betas_zero_snr=bool(options.get('zero_snr', False)), **ends)


def part_of(fields: dict) -> Part:
  """A Part of fields that lie in no file yet."""
  return Part('scheduler_config.json', fields=fields)


def asked_by(row, fields: dict) -> set:
  """The fields that a class looks at; those of TRIED lead it further."""
  asked = set()
  each = TRIED | dict.fromkeys(LEVELS, (True,))
  for changed in [{}] + [{key: value} for key, values in each.items()
                         for value in values]:
    part = part_of(fields | changed)
    try:
      row(part)
    except ValueError:
      pass
    asked |= part.asked
  return asked
