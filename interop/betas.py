"""The noise and the target of a scheduler's file, as `diffusion` of a config."""
import numpy as np

NOISE_OR_V = {'epsilon': 'eps', 'v_prediction': 'v'}
TARGETS = NOISE_OR_V | {'sample': 'x0'}
STABLE = ('scaled_linear', 0.00085, 0.012)  # usual beta_schedule, beta_start, beta_end
PLAIN, STEEP = ('linear', 1e-4, 0.02), ('linear', 0.00085, 0.012)
TINY = 2**-12  # alpha of the last step, where a class leaves some in place of 0


def betas_of(part, usual) -> tuple[str, float, float]:
  """(beta_schedule, beta_start, beta_end). usual: what they are where there is none."""
  part.only(num_train_timesteps=1000, trained_betas=None)
  name, start, end = (part.get(key, value) for key, value in zip(
      ('beta_schedule', 'beta_start', 'beta_end'), usual))
  if name not in SCHEDULES:
    part.refuse('beta_schedule', name, f'it is one of {sorted(SCHEDULES)}')
  return name, start, end


SCHEDULES = {'linear': 'linear', 'scaled_linear': 'scaled_linear',
             'squaredcos_cap_v2': 'cosine'}


def process(part, usual, least: float | None = None, targets=TARGETS) -> dict:
  """`diffusion`: the schedule and the target.

  usual: as of betas_of. least: alpha at the last step where rescale_betas_zero_snr
  leaves none; None: the class does not read that.
  """
  name, *ends = betas_of(part, usual)
  options = 'steps=1000'
  if name != 'squaredcos_cap_v2' and tuple(ends) != (
      STABLE if name == 'scaled_linear' else PLAIN)[1:]:
    options += ', low={:.10g}, high={:.10g}'.format(*(1000 * beta for beta in ends))
  target = part.one_of('prediction_type', targets, 'epsilon')
  if least is not None and part.get('rescale_betas_zero_snr', False):
    if target == 'eps':
      part.refuse('rescale_betas_zero_snr', True, 'it takes another prediction_type '
                  "than 'epsilon', of which noise alone says nothing of the picture")
    options += ', zero_snr=True' + (f', end={least!r}' if least else '')
  return dict(schedule=f'{SCHEDULES[name]}({options})', target=target,
              loss_weight=target)


def alpha_bars(part, usual):
  """alpha^2 of the trained steps, f64[1000]."""
  name, start, end = betas_of(part, usual)
  if name == 'squaredcos_cap_v2':
    at = (np.linspace(0, 1, 1001) + 0.008) / 1.008
    bar = np.cos(np.pi / 2 * at)**2
    betas = np.minimum(1 - bar[1:] / bar[:-1], 0.999)
  else:
    root = 2 if name == 'scaled_linear' else 1
    betas = np.linspace(start**(1 / root), end**(1 / root), 1000)**root
  return np.cumprod(1 - betas)


def result(diffusion, solver: str, timesteps: str, **more) -> dict:
  """What a row gives. more: `prior` of sample, and fields of the backbone."""
  prior = more.pop('prior', None)
  sample = dict(solver=solver, timesteps=timesteps)
  if prior:
    sample['prior'] = prior
  return dict(diffusion=diffusion, sample=sample) | more
