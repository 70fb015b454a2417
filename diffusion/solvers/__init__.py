"""Solvers: from noise towards the picture, one step at a time.

A solver sees only the expected picture x0 and (alpha, sigma) at both ends of a step, so
any runs on any schedule and with any target; `sampling.sample` is the loop.
"""
from diffusion.solvers import first_order, multistep, runge_kutta
from diffusion.solvers.adaptive import adaptive, dpm_solver_23
from diffusion.solvers.plms import plms
from diffusion.solvers.singlestep import dpmpp_singlestep
from diffusion.solvers.solver import Solver, stateless

SOLVERS = {  # (schedule, times, **options), times as far as it needs them -> Solver
    'ddpm': first_order.ddpm, 'ddim': first_order.ddim, 'lcm': first_order.lcm,
    'tcd': first_order.tcd, 'flow_map': first_order.flow_map,
    'euler_ancestral': first_order.euler_ancestral,
    'euler': runge_kutta.euler, 'heun': runge_kutta.heun, 'edm': runge_kutta.edm,
    'dpm2': runge_kutta.dpm2, 'dpmpp_2s': runge_kutta.dpmpp_2s,
    'dpmpp_singlestep': dpmpp_singlestep, 'dpmpp_2m': multistep.dpmpp_2m,
    'dpmpp_2m_sde': multistep.dpmpp_2m_sde, 'dpmpp_3m': multistep.dpmpp_3m,
    'dpmpp': multistep.dpmpp, 'dpm': multistep.dpm, 'unipc': multistep.unipc,
    'deis': multistep.deis, 'lms': multistep.lms, 'plms': plms, 'adaptive': adaptive}

__all__ = ['SOLVERS', 'Solver', 'dpm_solver_23', 'stateless']
