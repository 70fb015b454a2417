"""One evaluation, no state: solvers that differ in how much noise they draw anew."""
import math

import jax.numpy as jnp

from diffusion import posterior, specs
from diffusion.posterior import transfer
from diffusion.process import split_variance
from diffusion.solvers.solver import Solver, stateless


def ddim(schedule, times=None, *, eta: float = 0.0, stride: int = 0) -> Solver:
  """DDIM, arXiv:2010.02502 eq. 12 and 16. eta 0 is deterministic, 1 is DDPM.

  stride: n steps are all trained // n of this many trained steps long, whatever the
  timesteps are, as diffusers' DDIM takes them: where the two differ, a step goes on
  from elsewhere than the one before ended. 0: a step ends where the next one starts.
  """
  specs.not_negative(eta=eta, stride=stride)
  if stride and times is None:
    raise ValueError(f'stride is {stride}, which needs the timesteps.')
  specs.require(lambda n: not n or n >= len(times) - 1, 'there are more steps',
                stride=stride)
  def step(denoise, x, x0, t, s, keys):
    if stride:
      ahead = t - stride // (len(times) - 1) / stride
      s = jnp.where(ahead > 0.5 / stride, ahead, times[-1])
    now, then = schedule(t), schedule(s)
    return transfer(x, x0, now, then, posterior.posterior_std(now, then, eta), keys)
  return stateless(step, stochastic=eta > 0)


def euler_ancestral(schedule, *, eta: float = 1.0) -> Solver:
  """Euler's method in sigma / alpha with new noise. The slope of x / alpha in it is
  eps, so that a step keeps x0 and eps: it is DDIM."""
  return ddim(schedule, eta=eta)


def lcm(schedule, *, scaling: float = 0.0, trained: int = 1000) -> Solver:
  """Multistep consistency sampling, arXiv:2303.01469 alg. 1: x0, and all noise anew.

  For networks trained to give the end of the path; the mean x0 of others makes it dull.
  scaling: of the boundary condition of latent consistency models, arXiv:2310.04378
  section 4.2, on the index of one of `trained` steps: 10 as published; 0 for none.
  """
  specs.not_negative(scaling=scaling)
  specs.above_zero(trained=trained)
  def step(denoise, x, x0, t, s, keys):
    then = schedule(s)
    if scaling:
      time = scaling * (trained * t - 1)
      skip = 0.25 / (time**2 + 0.25)
      x0 = skip * x + jnp.sqrt(1 - skip) * x0
    return transfer(x, x0, schedule(t), then, then[1], keys)
  return stateless(step, stochastic=True)


def tcd(schedule, *, gamma: float = 0.3, trained: int = 1000) -> Solver:
  """Strategic stochastic sampling, arXiv:2402.19159 alg. 4.

  By the ODE to the time (1 - gamma) s, in whole steps of `trained`, then noise up to s.
  It ends there at the first step, and that is taken for the picture.
  """
  specs.between(0, 1, gamma=gamma)
  specs.above_zero(trained=trained)
  def step(denoise, x, x0, t, s, keys):
    below = (jnp.floor((1 - gamma) * jnp.round(trained * s - 1) + 1e-4) + 1) / trained
    last = s < 1.5 / trained
    below = jnp.where(last, jnp.maximum(s, 1 / trained), below)
    x = transfer(x, x0, schedule(t), schedule(below))
    if not gamma:
      return x
    return jnp.where(last, x, posterior.renoise(x, schedule(below), schedule(s), keys))
  return stateless(step, stochastic=gamma > 0)


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
