"""Solvers: from noise towards the picture, one step at a time.

A solver is a pair of pure functions: `init(x) -> state` and
`step(denoise, x, state, t, s, keys) -> (x, state)`, which moves x [b h w c] from time
t to the earlier time s (f32[]); `denoise(x, t)` is the expected picture x0, `keys` [b]
has one key a picture. None evaluates `denoise` at s = 0, and each evaluates it first at
(x, t), whatever the times.

`adaptive` chooses its own times, so it is a function of its own, not one of these.
"""
from diffusion.solvers import first_order, multistep, runge_kutta
from diffusion.solvers.adaptive import adaptive
from diffusion.solvers.steps import Solver

SOLVERS = {  # name -> (schedule, **options) -> Solver
    'ddpm': first_order.ddpm,
    'ddim': first_order.ddim,
    'euler_ancestral': first_order.euler_ancestral,
    'lcm': first_order.lcm,
    'euler': runge_kutta.euler,
    'heun': runge_kutta.heun,
    'edm': runge_kutta.edm,
    'dpmpp_2s': runge_kutta.dpmpp_2s,
    'dpmpp_2m': multistep.dpmpp_2m,
    'dpmpp_2m_sde': multistep.dpmpp_2m_sde,
    'dpmpp_3m': multistep.dpmpp_3m,
    'unipc': multistep.unipc,
    'deis': multistep.deis,
    'lms': multistep.lms,
}

__all__ = ['SOLVERS', 'Solver', 'adaptive']
