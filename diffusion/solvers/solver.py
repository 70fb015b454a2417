"""What a solver is: pure functions, and the properties that callers ask for."""
from typing import Any, NamedTuple
from collections.abc import Callable


class Solver(NamedTuple):
  """Moves x [b h w c] from time t to an earlier time s, f32[], step by step.

  Attributes:
    init: x -> state.
    step: (denoise, x, x0, state, t, s, keys [b]) -> (x, state). x0 is what the network
      says of x at t; `denoise(x, t) -> x0` is for further evaluations, never at s = 0.
    perturb: (x, t, keys) -> (x, t), done before the first evaluation of a step.
    upward: (x, t, s, keys) -> x: a step to s > t without the network. Where it is None,
      steps up are integrated as any other.
    solve: (denoise, x, times f32[n + 1]) -> x0, of a solver that chooses the times
      between the first and the last but one itself; it has no step.
    stochastic: it draws noise, so that it cannot be turned round.
    remembers: its state is of earlier steps, so that it cannot go back up.
    maps: x0 is what a network says that is told s too, and x at s is where it leads by
      itself: the denoiser is made anew for each s (sampling.sample).
    learned_variance: x0 is [b h w 2c], with the network's `frac` beyond the picture.
    frac: of ancestral steps, how far the logarithm of their variance is from the
      posterior's to the largest, as in `vlb.step_kl`: 0, 1, or NaN where that is
      learned; None for other solvers.
  """
  init: Callable[[Any], Any]
  step: Callable[..., Any] | None = None
  perturb: Callable[..., Any] | None = None
  upward: Callable[..., Any] | None = None
  solve: Callable[..., Any] | None = None
  stochastic: bool = False
  remembers: bool = False
  maps: bool = False
  learned_variance: bool = False
  frac: float | None = None


def stateless(step, **properties) -> Solver:
  """A solver without state, from (denoise, x, x0, t, s, keys) -> x."""
  def with_state(denoise, x, x0, state, *rest):
    return step(denoise, x, x0, *rest), state
  return Solver(lambda x: (), with_state, **properties)
