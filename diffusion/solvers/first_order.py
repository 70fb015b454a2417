"""One evaluation, no state: solvers that differ in how much noise they draw anew."""
import functools
import math

import jax.numpy as jnp

from diffusion import posterior, specs
from diffusion.posterior import transfer
from diffusion.process import split_variance
from diffusion.solvers.solver import Solver, stateless


def ddim(schedule, *, eta: float = 0.0) -> Solver:
  """DDIM, arXiv:2010.02502 eq. 12 and 16. eta 0 is deterministic, 1 is DDPM."""
  specs.not_negative(eta=eta)
  def step(denoise, x, x0, t, s, keys):
    now, then = schedule(t), schedule(s)
    return transfer(x, x0, now, then, posterior.posterior_std(now, then, eta), keys)
  return stateless(step, stochastic=eta > 0)


# Euler's method in sigma / alpha with new noise: the slope of x / alpha in it is eps,
# so that a step keeps x0 and eps.
euler_ancestral = functools.partial(ddim, eta=1.0)


def lcm(schedule) -> Solver:
  """Multistep consistency sampling, arXiv:2303.01469 alg. 1: x0, and all noise anew.

  For networks trained to give the end of the path; the mean x0 of others makes it dull.
  """
  def step(denoise, x, x0, t, s, keys):
    then = schedule(s)
    return transfer(x, x0, schedule(t), then, then[1], keys)
  return stateless(step, stochastic=True)


def flow_map(schedule) -> Solver:
  """A map from t to s that was learned whole: MeanFlow (arXiv:2505.13447 eq. 12),
  shortcut models (arXiv:2410.12557 eq. 3): x_s = x_t - (t - s) u on straight paths.

  For networks that are told s; one step from noise to the picture is such a map, too.
  """
  return ddim(schedule)._replace(maps=True)


VARIANCES = {'posterior': 0.0, 'large': 1.0, 'learned': math.nan}  # Solver.frac


def ddpm(schedule, *, variance: str = 'posterior') -> Solver:
  """Ancestral sampling, arXiv:2006.11239 alg. 2.

  variance: of x_s given x_t. 'posterior' is right if all pictures are one (beta tilde);
  'large' if they are standard normal (beta, where variance is preserved); 'learned' is
  between them, arXiv:2102.09672 eq. 15: x0 is then [b h w 2c], with how far it is from
  the first to the second.
  """
  specs.require(lambda name: name in VARIANCES,
                "ddpm takes 'large', 'learned' or 'posterior'", variance=variance)
  learned, frac = variance == 'learned', VARIANCES[variance]
  if frac == 0:
    return ddim(schedule, eta=1.0)._replace(frac=frac)
  def step(denoise, x, x0, t, s, keys):
    now, then = schedule(t), schedule(s)
    x0, share = split_variance(x0, x)
    mean = transfer(x, x0, now, (then[0], then[1] * posterior.sigma_ratio(now, then)))
    std = posterior.beta_std(now, then)
    if learned:
      least = posterior.posterior_std(now, then, 1.0)
      std = least**(1 - share) * std**share
    return mean + jnp.where(s > 0, std, 0.0) * posterior.noise_like(keys, x)
  return stateless(step, stochastic=True, learned_variance=learned, frac=frac)
