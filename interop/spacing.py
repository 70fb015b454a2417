"""How a scheduler's file says its timesteps, as a row of `sample.timesteps`."""
import math

import numpy as np


def written(name: str, **options) -> str:
  """'name(option=value, ...)', without the options that are None or 0."""
  said = ', '.join(f'{k}={v!r}' for k, v in options.items() if v is not None)
  return f'{name}({said})' if said else name


def spacing_of(part, usual: str) -> tuple[str, int | None]:
  """timestep_spacing and steps_offset, None for an offset of 0."""
  name = part.one_of('timestep_spacing', {
      name: name for name in ('leading', 'linspace', 'trailing')}, usual)
  offset = part.get('steps_offset', 0)
  if type(offset) is not int or offset < 0:
    part.refuse('steps_offset', offset, 'it is a whole number')
  return name, offset or None


def whole(part, usual: str, **more) -> str:
  """Of the classes that take whole steps: DDIM, DDPM, PNDM."""
  name, offset = spacing_of(part, usual)
  return written(name, **({'offset': offset} if name == 'leading' else {}), **more)


LEVELS = {'use_karras_sigmas': 'karras', 'use_exponential_sigmas': 'exponential',
          'use_beta_sigmas': 'beta'}


def level_of(part) -> str | None:
  """The row of levels that the file asks for, if any; two are refused."""
  asked = [key for key in LEVELS if part.get(key, False)]
  if len(asked) > 1:
    part.refuse(asked[1], True, f'there is one of {sorted(LEVELS)}')
  return LEVELS[asked[0]] if asked else None


def fractional(part, whole_karras: bool = False, ends: bool = False,
               levels: bool = True) -> tuple[str, str | None]:
  """(timesteps, prior) of the classes whose steps are k-diffusion's.

  whole_karras: the network is told whole steps of Karras' levels. ends: the class reads
  sigma_min and sigma_max. levels: it reads the keys of LEVELS.
  """
  name, offset = spacing_of(part, 'linspace')
  prior = None if name == 'leading' else 'noise'
  level = level_of(part) if levels else None
  if level is None:
    options = dict(offset=offset) if name == 'leading' else (
        dict(whole=False) if name == 'linspace' else {})
    return written(name, **options), prior
  low, high = (float(part.get(key, 0.0)) if ends else 0.0
               for key in ('sigma_min', 'sigma_max'))
  between = {} if name == 'linspace' else dict(spacing=name)
  if name == 'leading':
    between['offset'] = offset
  return written(level, trained=1000, sigma_min=low, sigma_max=high or None,
                 whole=True if whole_karras and level == 'karras' else None,
                 **between), prior


def until_of(part) -> str | None:
  """final_sigmas_type as `until`."""
  return part.one_of('final_sigmas_type', {'zero': None, 'sigma_min': 'first'}, 'zero')


def solvers(part, until: str | None, *, spaced: bool = True, lu: bool = False,
            last: int | None = None, on_levels: str | None = '') -> str:
  """Of DPM-Solver and its kin: one step more, the last of which is left out.

  until: where the last step ends. spaced, lu: the class reads timestep_spacing, and
  use_lu_lambdas. last: how many of the trained steps count.
  on_levels: `until` among levels; '' for the same.
  """
  lu = lu and part.get('use_lu_lambdas', False)
  level = level_of(part) or ('exponential' if lu else None)
  if level:
    cosine = part.get('beta_schedule', '') == 'squaredcos_cap_v2'
    if (lu or level == 'karras') and not cosine:
      return written(level, trained=1000, sigma_min=0.0, whole=True,
                     until=until if on_levels == '' else on_levels)
    key = next(key for key in (*LEVELS, 'use_lu_lambdas') if part.fields.get(key))
    part.refuse(key, True, 'such levels would be told to the network as whole steps, '
                'cut where rounding falls')
  name, offset = spacing_of(part, 'linspace') if spaced else ('linspace', None)
  return written(name, more=None if name == 'trailing' else 1,
                 offset=offset if name == 'leading' else None, last=last, until=until)


def counted(part, table) -> int | None:
  """How many trained steps have a log(alpha / sigma) of lambda_min_clipped or more.

  table: alpha^2 of each step, f64[1000].
  """
  least = part.get('lambda_min_clipped', -math.inf)
  if least == -math.inf:
    return None
  half_log_snr = 0.5 * (np.log(table) - np.log1p(-table))
  count = int((half_log_snr >= least).sum())
  if count < 2:
    part.refuse('lambda_min_clipped', least, 'it leaves at least two steps')
  return None if count == len(table) else count
