"""Schedulers of flows and of EDM's networks: rows of schedulers.SCHEDULERS."""
from interop import spacing
from interop.betas import result
from interop.spacing import written

FLOW = dict(schedule='flow', target='flow', loss_weight='flow')
FEW = 15  # with fewer steps than this diffusers' solvers lower their order at the end
TYPES = {'midpoint': None, 'logrho': None, 'bh1': None, 'bh2': None, 'heun': False}


def order_of(part) -> int:
  order = part.get('solver_order', 2)
  if order not in (1, 2, 3):
    part.refuse('solver_order', order, 'it is 1, 2 or 3')
  return order


def multistep_options(part) -> dict:
  """Options of our dpmpp and dpm that several classes read alike."""
  return dict(order=order_of(part),
              middle=part.one_of('solver_type', TYPES, 'midpoint'),
              lower=FEW if part.get('lower_order_final', True) else None,
              euler_last=True if part.get('euler_at_final', False) else None)


def flow_solver(part, solver: str, until):
  """A solver of diffusion on a flow, whose network is told whole thousandths."""
  part.must('prediction_type', 'flow_prediction', 'epsilon')
  part.only(num_train_timesteps=1000, use_lu_lambdas=False, **{
      key: False for key in spacing.LEVELS})
  if until:
    part.refuse('final_sigmas_type', 'sigma_min', "it is 'zero' on a flow")
  timesteps = written('shifted', shift=float(part.get('flow_shift', 1.0)), start=0.999,
                      whole=True)
  return result(FLOW, solver,
                timesteps, prior='unit')


def flow_match(solver: str):
  """A class of flows; solver: ours."""
  def row(part):
    part.only(num_train_timesteps=1000, invert_sigmas=False, scale_factors=None)
    drawing = 'lcm' if part.get('stochastic_sampling', False) else solver
    return result(FLOW, drawing,
                  flow_timesteps(part))
  return row


def flow_timesteps(part) -> str:
  """shift, its kinds, and levels between its ends."""
  terminal = part.get('shift_terminal', 0.0) or None
  level, shift = spacing.level_of(part), float(part.get('shift', 1.0))
  if part.get('use_dynamic_shifting', False):
    if level:
      part.refuse('use_dynamic_shifting', True, 'it goes with no levels of sigma')
    kinds = {'exponential': None, 'linear': True}
    return written(
        'dynamic', base_shift=float(part.get('base_shift', 0.5)),
        max_shift=float(part.get('max_shift', 1.15)),
        base_tokens=part.number('base_image_seq_len', 256),
        max_tokens=part.number('max_image_seq_len', 4096), end=0.001, terminal=terminal,
        linear=part.one_of('time_shift_type', kinds, 'exponential'))
  moved = lambda t: shift * t / (1 + (shift - 1) * t)
  end = moved(0.001)
  if level:  # between the first and the last of the times that they take the place of
    return written(level, of_t=True, sigma_min=terminal or round(moved(end), 9))
  return written('shifted', shift=shift, end=round(end, 9), terminal=terminal)


def edm(solver: str):
  """EDM's networks: told log(sigma) / 4, and shown x_t at unit variance."""
  def row(part):
    part.must('prediction_type', 'epsilon', 'epsilon')
    part.only(thresholding=False)
    std, low, high = (float(part.get(*default)) for default in (
        ('sigma_data', 0.5), ('sigma_min', 0.002), ('sigma_max', 80.0)))
    if high > 80:
      part.refuse('sigma_max', high, 'it is at most 80')
    said, target = solver, f'edm(data_std={std!r})'
    if solver == 'dpmpp':
      part.must('algorithm_type', 'dpmsolver++', 'dpmsolver++')
      said = written(solver, **multistep_options(part))
    until = 'last' if spacing.until_of(part) else None
    name = part.one_of('sigma_schedule', {'karras': 'karras',
                                          'exponential': 'exponential'}, 'karras')
    rho = {'rho': float(part.get('rho', 7.0))} if name == 'karras' else {}
    return result(
        dict(schedule='edm', target=target, loss_weight=target, input_std=std), said,
        written(name, sigma_min=low, sigma_max=high, until=until, **rho),
        model={'time_unit': 'edm'})
  return row
