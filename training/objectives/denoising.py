"""The loss of diffusion and flow matching: the weighted square error of a target."""
import functools

from diffusion import losses
from training.objectives import objective
from training.objectives.objective import Given, Objective


def denoising(given: Given) -> Objective:
  """arXiv:2006.11239 eq. 14, arXiv:2210.02747 eq. 9, for any target and weight.

  Where config.diffusion.vlb is above 0 the variational bound trains a variance beside
  it (arXiv:2102.09672 eq. 16); with learned_weight errors are divided by an uncertainty
  that is learned, u, and thrown away after training (arXiv:2312.02696 eq. 21).
  """
  if given.vlb:
    given.module.check_variance('config.diffusion.vlb is above 0')
  def loss(params, ema, batch, drawn):
    x0, context = objective.read_batch(given, params, batch, drawn)
    predict = objective.predictor(given, params, context, drawn['dropout_keys'])
    return weighted_terms(given, params, predict, x0, drawn)
  return Objective(functools.partial(objective.draw_inputs, given), loss)


def weighted_terms(given: Given, params, predict, x0, drawn):
  """(terms, seen), as Objective.loss returns them, of what a network predicts."""
  t = drawn['t']
  terms = losses.denoising_terms(predict, given.process, given.loss_weight, x0, t,
                                 drawn['eps'], given.vlb)
  seen = {'t': t, 'loss': sum(terms.values())}
  terms = {name: term * drawn['importance'] for name, term in terms.items()}
  return objective.with_learned_weight(given, params, terms, t), seen
