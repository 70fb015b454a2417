"""Averages of the weights: exponential, power-function, and ones made afterwards."""
import jax
import numpy as np

from diffusion import specs


def exponential(decay: float = 0.999):
  """Steps weigh decay^age; at the start of training the memory is shorter."""
  specs.require(lambda x: 0 <= x < 1, 'it must be from 0 to below 1', decay=decay)
  return lambda step: jax.numpy.minimum(decay, (1 + step) / (10 + step))


def power(std: float = 0.1):
  """Steps weigh (step / now)^gamma, whatever the length: arXiv:2312.02696 eq. 121.

  std: of the profile relative to the training time, in (0, 0.288); EDM2's sigma_rel.
  """
  gamma = std_to_gamma(std)
  decay = lambda step: (1 - 1 / (step + 1.0)) ** (gamma + 1)
  decay.std = std  # of profiles from which others can be made
  return decay


PROFILES = {'exponential': exponential, 'power': power}


def std_to_gamma(std: float) -> float:
  """The gamma whose profile has this relative width: arXiv:2312.02696 eq. 126."""
  specs.require(lambda std: 0 < std < 12 ** -0.5,
                'power takes more than 0 and less than 0.288', std=std)
  return float(np.roots([1, 7, 16 - std**-2, 12 - std**-2]).real.max())


def inner_products(t_a, gamma_a, t_b, gamma_b):
  """Inner products of power-function profiles, broadcast: arXiv:2312.02696 alg. 3.

  A profile is (gamma + 1) t^gamma / t_a^(gamma + 1) for t up to t_a, the step at which
  it was stored, and 0 after.
  """
  shared = np.minimum(t_a, t_b)
  return ((gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) / shared
          * (shared / t_a) ** (gamma_a + 1) * (shared / t_b) ** (gamma_b + 1))


def solve_posthoc(stored, step: int, std: float) -> np.ndarray:
  """How much of each stored average makes the one of another width.

  The least-squares fit of its profile by theirs: arXiv:2312.02696 section C.3.
  stored: (step, std) of each. Returns float64[len(stored)], about 1 in sum.
  """
  t = np.array([at for at, _ in stored], float)
  gamma = np.array([std_to_gamma(width) for _, width in stored])
  gram = inner_products(t[:, None], gamma[:, None], t, gamma)
  wanted = inner_products(t, gamma, float(step), std_to_gamma(std))
  return np.linalg.lstsq(gram, wanted, rcond=1e-12)[0]
